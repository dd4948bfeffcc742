//! What a body may be, found out by asking the code that reads it: a form that is being described has every field, and whoever reads
//! it tells which those are. The description cannot differ from what is accepted.

use super::form::TextRule;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

thread_local! {
    static FIELDS: RefCell<Option<BTreeMap<String, Field>>> = const { RefCell::new(None) };
}

/// A field as it was asked for.
#[derive(Clone, Debug)]
struct Field {
    required: bool,
    schema: Value,
}

/// Whether a form is being described on this thread.
pub(crate) fn describing() -> bool {
    FIELDS.with_borrow(Option::is_some)
}

fn note(path: String, required: bool, schema: Value) {
    FIELDS.with_borrow_mut(|fields| {
        if let Some(fields) = fields {
            // What is known more closely stays.
            let known = fields.entry(path).or_insert_with(|| Field { required, schema: json!({}) });
            known.required |= required;
            if let (Value::Object(known), Value::Object(more)) = (&mut known.schema, schema) {
                known.extend(more);
            }
        }
    });
}

/// A text.
pub(crate) fn text(path: String, required: bool) {
    note(path, required, json!({"type": "string"}));
}

/// A text that follows a rule.
pub(crate) fn ruled_text(path: String, required: bool, rule: &TextRule) {
    let mut schema = json!({"type": "string", "minLength": rule.length.start(), "maxLength": rule.length.end()});
    // Classes of characters are written differently in every dialect of patterns.
    match rule.pattern.contains("\\P") {
        true => schema["description"] = json!(format!("Pattern: {}", rule.pattern)),
        false => schema["pattern"] = json!(rule.pattern),
    }
    note(path, required, schema);
}

/// A text out of a list.
pub(crate) fn choice(path: String, required: bool, choices: &[&str]) {
    note(path, required, json!({"type": "string", "enum": choices}));
}

/// A truth value.
pub(crate) fn boolean(path: String) {
    note(path, false, json!({"type": "boolean"}));
}

/// A whole number.
pub(crate) fn number(path: String, required: bool, range: &RangeInclusive<u32>) {
    note(path, required, json!({"type": "integer", "minimum": range.start(), "maximum": range.end()}));
}

/// An object.
pub(crate) fn form(path: String, required: bool) {
    note(path, required, json!({"type": "object"}));
}

/// A list.
pub(crate) fn list(path: String, required: bool, most: usize) {
    note(path, required, json!({"type": "array", "maxItems": most}));
}

/// Anything, as the code beside says.
pub(crate) fn anything(path: String) {
    note(path, false, json!({}));
}

/// The schema of the body that `read` reads.
pub(crate) fn body(read: fn(&[u8])) -> Value {
    FIELDS.with_borrow_mut(|fields| *fields = Some(BTreeMap::new()));
    read(b"{}");
    let fields = FIELDS.with_borrow_mut(Option::take).unwrap_or_default();
    object("", &fields)
}

fn object(path: &str, fields: &BTreeMap<String, Field>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    for (full, field) in fields {
        let Some(name) = full.strip_prefix(&prefix).filter(|name| !name.is_empty() && !name.contains('.')) else { continue };
        if name == "*" {
            continue;
        }
        if field.required {
            required.push(name.to_owned());
        }
        properties.insert(name.to_owned(), of_field(full, field, fields));
    }
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn of_field(path: &str, field: &Field, fields: &BTreeMap<String, Field>) -> Value {
    let mut schema = match field.schema["type"].as_str() {
        Some("object") => object(path, fields),
        Some("array") => {
            let mut list = field.schema.clone();
            let item = format!("{path}.*");
            list["items"] = match fields.get(&item) {
                Some(item_field) => item_field.schema.clone(),
                None => object(&item, fields),
            };
            list
        }
        _ => field.schema.clone(),
    };
    // In optional fields nothing means the same as absence.
    if !field.required
        && let Some(kind) = schema["type"].as_str().map(str::to_owned)
    {
        schema["type"] = json!([kind, "null"]);
        if let Some(choices) = schema.get_mut("enum").and_then(Value::as_array_mut) {
            choices.push(Value::Null);
        }
    }
    schema
}
