//! Documents with links, as the original's renderer makes them (Globo's wire reference, section 1): every object and every error begins
//! with `_links`, lists have pages, and embedded objects are left as they are.

use crate::kit::query::Query;
use crate::kit::refusal::header;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::Serialize;
use serde_json::{Map, Value};

/// Rows on a page when nobody says how many.
const PAGE_SIZE: u64 = 10;
/// Rows on a page at most.
const LARGEST_PAGE: u64 = 100;

/// The path of a base address, which a proxy may have added before ours.
pub(crate) fn path_of(base: &str) -> &str {
    let rest = base.split_once("://").map_or("", |(_, rest)| rest);
    rest.find('/').map_or("", |at| &rest[at..])
}

/// The address under which the caller reaches us, and what it asked for.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    base: String,
    target: String,
}

impl Site {
    /// Of a request.
    pub(crate) fn of(headers: &HeaderMap, uri: &Uri, public_base: Option<&str>, tls: bool) -> Self {
        let host = header(headers, "host").or(uri.authority().map(|authority| authority.as_str())).unwrap_or("localhost");
        let scheme = if tls { "https" } else { "http" };
        let base = public_base.map_or_else(|| format!("{scheme}://{host}"), str::to_owned);
        Self { base, target: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string) }
    }
    /// Scheme, host and perhaps a path before ours.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }
    /// The path before ours, which a proxy may have added.
    pub(crate) fn root(&self) -> &str {
        path_of(&self.base)
    }
    /// The path and query that were asked for.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }
    /// What was asked for.
    pub(crate) fn own(&self) -> String {
        format!("{}{}", self.base, self.target)
    }
    /// One of a kind, by number.
    pub(crate) fn item(&self, kind: &str, number: u64) -> String {
        format!("{}/api/{kind}/{number}/", self.base)
    }
    /// All of a kind.
    pub(crate) fn list(&self, kind: &str) -> String {
        format!("{}/api/{kind}/", self.base)
    }
    /// What was asked for, on another page.
    fn page(&self, page: u64) -> String {
        self.with("page", &page.to_string())
    }
    /// What was asked for, with another value in its query.
    pub(crate) fn with(&self, key: &str, value: &str) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let is_same = |pair: &str| pair.split('=').next() == Some(key);
        let mut pairs: Vec<String> = query.split('&').filter(|pair| !pair.is_empty() && !is_same(pair)).map(str::to_owned).collect();
        pairs.push(format!("{key}={value}"));
        format!("{}{path}?{}", self.base, pairs.join("&"))
    }
}

#[derive(Serialize)]
struct SelfLink {
    #[serde(rename = "self")]
    own: String,
}

/// An object with its link.
#[derive(Serialize)]
pub(crate) struct Linked<T> {
    #[serde(rename = "_links")]
    links: SelfLink,
    #[serde(flatten)]
    object: T,
}

impl<T> Linked<T> {
    /// At this address.
    pub(crate) fn at(own: String, object: T) -> Self {
        Self { links: SelfLink { own }, object }
    }
}

/// Which page of a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// From 1; none: the last one.
    number: Option<u64>,
    size: u64,
}

/// A page that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoSuchPage;

impl Page {
    /// Reads `page` (from 1, or `last`) and `page_size`; a size that makes no sense is the usual one.
    pub(crate) fn of(query: &Query) -> Result<Self, NoSuchPage> {
        let size = query.get("page_size").and_then(|text| text.parse().ok()).filter(|size| *size > 0).unwrap_or(PAGE_SIZE);
        let number = match query.get("page") {
            None => Some(1),
            Some("last") => None,
            Some(text) => Some(text.parse().ok().filter(|number| *number > 0).ok_or(NoSuchPage)?),
        };
        Ok(Self { number, size: size.min(LARGEST_PAGE) })
    }
    /// Rows to skip, as far as that is known without their number.
    pub(crate) fn offset(self) -> Option<u64> {
        self.number.map(|number| (number - 1).saturating_mul(self.size))
    }
    /// Rows at most.
    pub(crate) fn size(self) -> u64 {
        self.size
    }
    /// The number of the last page of so many rows.
    pub(crate) fn last(self, count: u64) -> u64 {
        count.div_ceil(self.size).max(1)
    }
    /// Rows to skip for the page that is wanted of so many.
    pub(crate) fn offset_of(self, count: u64) -> u64 {
        self.offset().unwrap_or_else(|| (self.last(count) - 1).saturating_mul(self.size))
    }
    /// The rows of a list that is here as a whole.
    pub(crate) fn cut<T>(self, rows: Vec<T>) -> (Vec<T>, u64) {
        let count = rows.len() as u64;
        let skip = usize::try_from(self.offset_of(count)).unwrap_or(usize::MAX);
        (rows.into_iter().skip(skip).take(usize::try_from(self.size).unwrap_or(usize::MAX)).collect(), count)
    }
}

/// A page of a list: `key` is what its rows are called.
pub(crate) fn list(site: &Site, key: &str, rows: Vec<Value>, page: Page, count: u64) -> Result<Value, NoSuchPage> {
    let last = page.last(count);
    let number = page.number.unwrap_or(last);
    if number > last {
        return Err(NoSuchPage);
    }
    let mut links = Map::new();
    links.insert("count".into(), count.into());
    links.insert("self".into(), site.own().into());
    links.insert("previous".into(), if number > 1 { site.page(number - 1).into() } else { Value::Null });
    links.insert("next".into(), if number < last { site.page(number + 1).into() } else { Value::Null });
    let mut document = Map::new();
    document.insert("_links".into(), links.into());
    document.insert(key.to_owned(), rows.into());
    Ok(document.into())
}

/// An answer with a document.
pub(crate) fn answer(status: StatusCode, document: &impl Serialize) -> Response {
    let body = serde_json::to_vec(document).unwrap_or_default();
    (status, [(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn site(target: &'static str) -> Site {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("h:8000"));
        Site::of(&headers, &Uri::from_static(target), None, false)
    }
    fn page(raw: &str) -> Result<Page, NoSuchPage> {
        Page::of(&Query::parse(Some(raw)))
    }

    #[test]
    fn pages_are_counted_from_one_and_know_their_neighbours() {
        let rows = (0..25).map(|n| json!(n)).collect::<Vec<_>>();
        let wanted = page("page=2&name=x").expect("a page");
        let (cut, count) = wanted.cut(rows.clone());
        let document = list(&site("/api/database/?page=2&name=x"), "database", cut, wanted, count).expect("there");
        assert_eq!(document["_links"]["previous"], "http://h:8000/api/database/?name=x&page=1");
        assert_eq!(document["_links"]["next"], "http://h:8000/api/database/?name=x&page=3");
        assert_eq!((&document["_links"]["count"], &document["database"][0]), (&json!(25), &json!(10)));
        let last = page("page=last").expect("a page");
        let (cut, count) = last.cut(rows.clone());
        let document = list(&site("/api/database/?page=last"), "database", cut, last, count).expect("there");
        assert_eq!((document["database"].as_array().map(Vec::len), &document["_links"]["next"]), (Some(5), &Value::Null));
        for bad in ["page=0", "page=x", "page=-1"] {
            assert_eq!(page(bad), Err(NoSuchPage), "{bad}");
        }
        let beyond = page("page=4").expect("a number");
        assert_eq!(list(&site("/api/x/"), "x", Vec::new(), beyond, 25), Err(NoSuchPage));
        assert!(list(&site("/api/x/"), "x", Vec::new(), page("").expect("the first"), 0).is_ok(), "an empty list has a first page");
        assert_eq!((page("page_size=1000").expect("x").size(), page("page_size=no").expect("x").size()), (100, 10));
    }
}
