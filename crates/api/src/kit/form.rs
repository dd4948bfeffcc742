//! Reads a JSON body field by field and keeps a list of everything that is wrong with it, each with the path of its field,
//! so that a caller is told all at once. Unknown fields are refused. In optional fields `null`, `""` and absence mean the
//! same.

use super::describe;
use super::refusal::Refusal;
use moorage_domain::{Problem, ProblemCode};
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Problems told at most: a body of unknown fields must not become an answer many times its size.
const MOST_TOLD: usize = 100;

/// What is wrong with a body so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    found: RefCell<Vec<Problem>>,
    /// How many more there are than are told.
    untold: Cell<usize>,
}

impl Faults {
    /// Notes a problem.
    pub(crate) fn add(&self, problem: Problem) {
        let mut found = self.found.borrow_mut();
        if found.len() < MOST_TOLD {
            found.push(problem);
        } else {
            self.untold.set(self.untold.get() + 1);
        }
    }
    /// Notes that a field is not right.
    pub(crate) fn invalid(&self, path: impl Into<String>, message: impl Into<String>) {
        self.add(Problem::invalid(path, message));
    }
    /// The refusal, if anything was noted. What is not well-formed goes before what is not supported.
    pub(crate) fn result(&self) -> Result<(), Refusal> {
        let mut problems = self.found.take();
        problems.sort_by_key(|problem| problem.code == ProblemCode::NotSupportedYet);
        let mut problems = problems.into_iter();
        match problems.next() {
            None => Ok(()),
            Some(first) => {
                let mut others: Vec<Problem> = problems.collect();
                if self.untold.get() > 0 {
                    let rest = format!("{} more problems were found with the request's body.", self.untold.get());
                    others.push(Problem::new(ProblemCode::InvalidRequest, rest));
                }
                Err(Refusal { first: Box::new(first), others })
            }
        }
    }
}

/// What a text field must look like: a pattern as documented, the predicate that is it, and its length.
pub(crate) struct TextRule {
    /// As documented.
    pub(crate) pattern: &'static str,
    /// The same, executable.
    pub(crate) matches: fn(&str) -> bool,
    /// Characters.
    pub(crate) length: RangeInclusive<usize>,
}

/// Reads a body as a JSON object.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(ProblemCode::MalformedBody, "The request has no body; a JSON object is expected."));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::new(ProblemCode::MalformedBody, "The request's body is JSON, but not an object.")),
        Err(why) => Err(Problem::new(ProblemCode::MalformedBody, "The request's body is not JSON.").detail(format!("{why}."))),
    }
}

/// What a form that is being described reads.
static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

/// One object of a body.
pub(crate) struct Form<'a> {
    path: String,
    object: &'a Map<String, Value>,
    faults: &'a Faults,
    known: RefCell<Vec<&'static str>>,
    closed: Cell<bool>,
}

impl<'a> Form<'a> {
    /// The whole body.
    pub(crate) fn whole(object: &'a Map<String, Value>, faults: &'a Faults) -> Self {
        Self::at(String::new(), object, faults)
    }
    fn at(path: String, object: &'a Map<String, Value>, faults: &'a Faults) -> Self {
        Self { path, object, faults, known: RefCell::default(), closed: Cell::new(false) }
    }
    /// The path of a field.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
    /// Notes that a field is not right.
    pub(crate) fn invalid(&self, key: &str, message: impl Into<String>) {
        self.faults.invalid(self.path(key), message);
    }
    /// Notes that a field asks for something that is not there yet.
    pub(crate) fn not_supported(&self, key: &str, what: &str) {
        let path = self.path(key);
        self.faults.add(Problem::new(ProblemCode::NotSupportedYet, format!("{path}: {what} is not supported yet.")).field(path));
    }
    fn value(&self, key: &'static str) -> Option<&'a Value> {
        self.known.borrow_mut().push(key);
        self.object.get(key)
    }
    /// The value of an optional field; `null` and `""` are none.
    fn present(&self, key: &'static str) -> Option<&'a Value> {
        self.value(key).filter(|value| !value.is_null() && value.as_str() != Some(""))
    }
    /// The value of a required field that must not be `null`.
    fn required(&self, key: &'static str) -> Option<&'a Value> {
        let value = self.value(key);
        if value.is_none() {
            self.invalid(key, "Field required");
        }
        value
    }

    /// Notes a missing field unless it is there, be it `null`.
    pub(crate) fn expect_key(&self, key: &'static str) {
        let _ = self.required(key);
    }
    /// A required text.
    pub(crate) fn text(&self, key: &'static str) -> Option<&'a str> {
        describe::text(self.path(key), true);
        self.as_text(key, self.required(key)?)
    }
    /// An optional text.
    pub(crate) fn optional_text(&self, key: &'static str) -> Option<&'a str> {
        describe::text(self.path(key), false);
        self.as_text(key, self.present(key)?)
    }
    fn as_text(&self, key: &str, value: &'a Value) -> Option<&'a str> {
        let text = value.as_str();
        match text {
            None => self.invalid(key, "Input should be a valid string"),
            Some(text) if text.contains('\0') => self.invalid(key, "String should not contain null characters"),
            Some(_) => return text,
        }
        None
    }
    /// An optional IPv4 address.
    pub(crate) fn optional_address(&self, key: &'static str) -> Option<Ipv4Addr> {
        address(self.path(key), self.optional_text(key)?, self.faults)
    }
    /// A required text that follows a rule.
    pub(crate) fn ruled_text(&self, key: &'static str, rule: &TextRule) -> Option<&'a str> {
        describe::ruled_text(self.path(key), true, rule);
        let text = self.text(key)?;
        self.follows(key, text, rule).then_some(text)
    }
    /// An optional text that follows a rule.
    pub(crate) fn optional_ruled_text(&self, key: &'static str, rule: &TextRule) -> Option<&'a str> {
        describe::ruled_text(self.path(key), false, rule);
        let text = self.optional_text(key)?;
        self.follows(key, text, rule).then_some(text)
    }
    fn follows(&self, key: &str, text: &str, rule: &TextRule) -> bool {
        let (least, most) = (*rule.length.start(), *rule.length.end());
        let count = text.chars().count();
        let message = if count < least {
            format!("String should have at least {least} characters")
        } else if count > most {
            format!("String should have at most {most} characters")
        } else if !(rule.matches)(text) {
            format!("String should match pattern '{}'", rule.pattern)
        } else {
            return true;
        };
        self.invalid(key, message);
        false
    }
    /// A required text out of a list.
    pub(crate) fn choice(&self, key: &'static str, choices: &[&'static str]) -> Option<&'a str> {
        describe::choice(self.path(key), true, choices);
        let text = self.text(key)?;
        self.one_of(key, text, choices)
    }
    /// An optional text out of a list.
    pub(crate) fn optional_choice(&self, key: &'static str, choices: &[&'static str]) -> Option<&'a str> {
        describe::choice(self.path(key), false, choices);
        let text = self.optional_text(key)?;
        self.one_of(key, text, choices)
    }
    fn one_of(&self, key: &str, text: &'a str, choices: &[&'static str]) -> Option<&'a str> {
        if choices.contains(&text) {
            return Some(text);
        }
        let quoted: Vec<String> = choices.iter().map(|choice| format!("'{choice}'")).collect();
        self.invalid(key, format!("Input should be {}", quoted.join(", ")));
        None
    }
    /// An optional truth value.
    pub(crate) fn optional_bool(&self, key: &'static str) -> Option<bool> {
        describe::boolean(self.path(key));
        let value = self.present(key)?;
        if value.as_bool().is_none() {
            self.invalid(key, "Input should be a valid boolean");
        }
        value.as_bool()
    }
    /// A required whole number within a range.
    pub(crate) fn number(&self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        describe::number(self.path(key), true, &range);
        self.as_number(key, self.required(key)?, range)
    }
    /// An optional whole number within a range.
    pub(crate) fn optional_number(&self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        describe::number(self.path(key), false, &range);
        self.as_number(key, self.present(key)?, range)
    }
    fn as_number(&self, key: &str, value: &Value, range: RangeInclusive<u32>) -> Option<u32> {
        let Value::Number(number) = value else {
            self.invalid(key, "Input should be a valid integer");
            return None;
        };
        if let Some(number) = number.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| range.contains(number)) {
            return Some(number);
        }
        self.invalid(
            key,
            match number.as_f64() {
                _ if number.is_f64() => String::from("Input should be a valid integer"),
                Some(number) if number < f64::from(*range.start()) => {
                    format!("Input should be greater than or equal to {}", range.start())
                }
                _ => format!("Input should be less than or equal to {}", range.end()),
            },
        );
        None
    }
    /// A required object.
    pub(crate) fn form(&self, key: &'static str) -> Option<Form<'a>> {
        if describe::describing() {
            describe::form(self.path(key), true);
            return Some(Form::at(self.path(key), &NOTHING, self.faults));
        }
        self.as_form(key, self.required(key)?)
    }
    /// An optional object.
    pub(crate) fn optional_form(&self, key: &'static str) -> Option<Form<'a>> {
        if describe::describing() {
            describe::form(self.path(key), false);
            return Some(Form::at(self.path(key), &NOTHING, self.faults));
        }
        self.as_form(key, self.present(key)?)
    }
    fn as_form(&self, key: &str, value: &'a Value) -> Option<Form<'a>> {
        match value {
            Value::Object(object) => Some(Form::at(self.path(key), object, self.faults)),
            _ => {
                self.invalid(key, "Input should be a valid object");
                None
            }
        }
    }
    /// A required list.
    pub(crate) fn list(&self, key: &'static str, most: usize) -> Option<Items<'a>> {
        if describe::describing() {
            describe::list(self.path(key), true, most);
            return Some(Items { path: self.path(key), items: &[], faults: self.faults });
        }
        self.as_list(key, self.required(key)?, most)
    }
    /// An optional list.
    pub(crate) fn optional_list(&self, key: &'static str, most: usize) -> Option<Items<'a>> {
        if describe::describing() {
            describe::list(self.path(key), false, most);
            return Some(Items { path: self.path(key), items: &[], faults: self.faults });
        }
        self.as_list(key, self.present(key)?, most)
    }
    fn as_list(&self, key: &str, value: &'a Value, most: usize) -> Option<Items<'a>> {
        match value {
            Value::Array(items) if items.len() <= most => Some(Items { path: self.path(key), items, faults: self.faults }),
            Value::Array(_) => {
                self.invalid(key, format!("List should have at most {most} items"));
                None
            }
            _ => {
                self.invalid(key, "Input should be a valid list");
                None
            }
        }
    }
    /// An optional value of any kind, for fields that may be written in two ways.
    pub(crate) fn optional_value(&self, key: &'static str) -> Option<&'a Value> {
        describe::anything(self.path(key));
        self.present(key)
    }
    /// Ends the reading of this object: whatever was not asked for is refused.
    pub(crate) fn close(self) {
        for key in self.object.keys() {
            if !self.known.borrow().contains(&key.as_str()) {
                let shown: String = key.chars().take(60).collect();
                self.invalid(&shown, "Extra inputs are not permitted");
            }
        }
        self.closed.set(true);
    }
}

impl Drop for Form<'_> {
    fn drop(&mut self) {
        debug_assert!(self.closed.get() || std::thread::panicking(), "a form was not closed: its unknown fields go unnoticed");
    }
}

/// A list of a body.
pub(crate) struct Items<'a> {
    path: String,
    items: &'a [Value],
    faults: &'a Faults,
}

impl<'a> Items<'a> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }
    /// Notes that the list itself is not right.
    pub(crate) fn invalid(&self, message: impl Into<String>) {
        self.faults.invalid(self.path.clone(), message);
    }
    /// The objects among them; anything else is noted.
    pub(crate) fn forms(&self) -> Vec<Form<'a>> {
        if describe::describing() {
            return vec![Form::at(format!("{}.*", self.path), &NOTHING, self.faults)];
        }
        let form = |(index, value): (usize, &'a Value)| {
            let path = format!("{}.{index}", self.path);
            match value {
                Value::Object(object) => Some(Form::at(path, object, self.faults)),
                _ => {
                    self.faults.invalid(path, "Input should be a valid object");
                    None
                }
            }
        };
        self.items.iter().enumerate().filter_map(form).collect()
    }
    /// The addresses among them, none for a blank one; anything else is noted.
    pub(crate) fn addresses(&self) -> Vec<Option<Ipv4Addr>> {
        let mut addresses = vec![None; self.items.len()];
        for (index, path, text) in self.indexed_texts() {
            if let (Some(place), false) = (addresses.get_mut(index), text.is_empty()) {
                *place = address(path, text, self.faults);
            }
        }
        addresses
    }
    /// The texts among them that are not blank, each with its path; anything else is noted.
    pub(crate) fn texts(&self) -> Vec<(String, &'a str)> {
        self.indexed_texts().into_iter().filter(|(.., text)| !text.is_empty()).map(|(_, path, text)| (path, text)).collect()
    }
    fn indexed_texts(&self) -> Vec<(usize, String, &'a str)> {
        describe::text(format!("{}.*", self.path), true);
        let text = |(index, value): (usize, &'a Value)| {
            let path = format!("{}.{index}", self.path);
            match value {
                Value::String(text) => Some((index, path, text.as_str())),
                _ => {
                    self.faults.invalid(path, "Input should be a valid string");
                    None
                }
            }
        };
        self.items.iter().enumerate().filter_map(text).collect()
    }
}

fn address(path: String, text: &str, faults: &Faults) -> Option<Ipv4Addr> {
    let address = text.parse::<Ipv4Addr>().ok();
    if address.is_none() {
        faults.invalid(path, "Input should be a valid IPv4 address");
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages(faults: Faults) -> Vec<String> {
        match faults.result() {
            Ok(()) => Vec::new(),
            Err(refusal) => refusal.problems().map(|p| format!("{}: {}", p.field.as_deref().unwrap_or_default(), p.message)).collect(),
        }
    }

    #[test]
    fn everything_that_is_wrong_is_reported_with_its_path() {
        let body = br#"{"a": 5, "b": {"n": 7, "what": 1}, "c": [{"x": true}, 3], "e": "no"}"#;
        let object = object(body).expect("an object");
        let faults = Faults::default();
        let form = Form::whole(&object, &faults);
        form.text("a");
        let inner = form.form("b").expect("a form");
        inner.number("n", 16..=5120);
        inner.close();
        for item in form.list("c", 9).expect("a list").forms() {
            item.optional_text("x");
            item.close();
        }
        form.text("d");
        form.choice("e", &["ACTIVE"]);
        form.close();
        assert_eq!(
            messages(faults),
            [
                "a: Input should be a valid string",
                "b.n: Input should be greater than or equal to 16",
                "b.what: Extra inputs are not permitted",
                "c.1: Input should be a valid object",
                "c.0.x: Input should be a valid string",
                "d: Field required",
                "e: Input should be 'ACTIVE'",
            ]
        );
    }

    #[test]
    fn a_hundred_problems_are_told_and_the_rest_counted() {
        let text = format!("{{{}\"z\": 1}}", (0..2000).map(|n| format!("\"k{n}\": 1, ")).collect::<String>());
        let object = object(text.as_bytes()).expect("an object");
        let faults = Faults::default();
        Form::whole(&object, &faults).close();
        let told = messages(faults);
        assert_eq!(told.len(), 101);
        assert_eq!(told[100], ": 1901 more problems were found with the request's body.");
    }

    #[test]
    fn null_blank_and_absent_optionals_are_alike() {
        for body in [r"{}", r#"{"a": null, "b": null}"#, r#"{"a": "", "b": ""}"#] {
            let object = object(body.as_bytes()).expect("an object");
            let faults = Faults::default();
            let form = Form::whole(&object, &faults);
            assert_eq!(form.optional_text("a"), None);
            assert_eq!(form.optional_number("b", 1..=2), None);
            form.close();
            assert_eq!(messages(faults), Vec::<String>::new(), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        let deep = "[".repeat(100_000);
        let deep_object = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
        for bad in ["", " \n", "null", "[]", "{", "{\"a\":1}x", "\u{feff}{}", &deep, &deep_object] {
            assert_eq!(object(bad.as_bytes()).expect_err("refused").code, ProblemCode::MalformedBody);
        }
        assert!(object(b"\xff\xfe").is_err());
    }

    #[test]
    fn numbers_outside_their_range_are_refused_whatever_their_size() {
        for (number, ok) in [("16", true), ("5120", true), ("15", false), ("5121", false), ("-1", false), ("1e300", false), ("16.5", false)]
        {
            let text = format!("{{\"n\": {number}}}");
            let object = object(text.as_bytes()).expect("an object");
            let faults = Faults::default();
            let form = Form::whole(&object, &faults);
            assert_eq!(form.number("n", 16..=5120).is_some(), ok, "{number}");
            form.close();
            assert_eq!(messages(faults).is_empty(), ok, "{number}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = object(&bytes);
        }
    }
}
