//! Requests to commands: strict and total. What the vendor's models refuse is refused here with the path of every failing
//! field; what only the app can know (names taken, addresses, time zones) is left to it.

pub(crate) mod create;

use super::dialect::Dialect;
use crate::kit::form::{Faults, Form, Items, object};
use crate::kit::query::Query;
use crate::kit::refusal::Refusal;
use moorage_app::{ClusterSort, ListClusters, MOST_ROWS};
use moorage_domain::allow_list::{self, MOST_ENTRIES};
use moorage_domain::service_state::ServiceState;

/// A list request: the command, and what the answer echoes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The command.
    pub(crate) command: ListClusters,
    /// `name:asc`.
    pub(crate) sort: String,
    /// A filter names what no cluster can have.
    pub(crate) matches_nothing: bool,
    /// Page, from 0.
    pub(crate) page: u64,
    /// Rows per page.
    pub(crate) size: u64,
}

/// Reads the query of List Clusters.
pub(crate) fn list_clusters(query: &Query, dialect: Dialect) -> Result<Listing, Refusal> {
    let faults = Faults::default();
    let size = number(query, "size", 20, MOST_ROWS, &faults);
    let page = number(query, "page", 0, i32::MAX as u64, &faults);
    let sort = query.get("sort").unwrap_or("name:asc");
    let (by, descending) = match sort.split_once(':') {
        Some((by, "asc")) => (by, false),
        Some((by, "desc")) => (by, true),
        _ => ("", false),
    };
    let by = match by {
        "name" => ClusterSort::Name,
        "service_state" => ClusterSort::State,
        "created_at" => ClusterSort::CreatedAt,
        _ => {
            faults.invalid("sort", "String should match pattern '^(name|service_state|created_at):(asc|desc)$'");
            ClusterSort::Name
        }
    };
    // Free text in the vendor's schema: a word that is no state matches nothing.
    let state = query.get("service_state").map(ServiceState::parse);
    faults.result()?;
    let command = ListClusters {
        engine: Some(dialect.engine),
        name: query.get("name").map(str::to_owned),
        state: state.flatten(),
        database_name: query.get("database_name").map(str::to_owned),
        sort: by,
        descending,
        offset: page.saturating_mul(size),
        limit: size,
    };
    Ok(Listing { command, matches_nothing: state == Some(None), sort: sort.to_owned(), page, size })
}

fn number(query: &Query, key: &str, default: u64, most: u64, faults: &Faults) -> u64 {
    let Some(text) = query.get(key) else { return default };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(number) if digits && number <= most => return number,
        _ if digits => faults.invalid(key, format!("Input should be less than or equal to {most}")),
        _ if text.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())) => {
            faults.invalid(key, "Input should be greater than or equal to 0");
        }
        _ => faults.invalid(key, "Input should be a valid integer"),
    }
    default
}

/// Every image type there is in the vendor's catalogue: a filter may name one that is not ours.
const IMAGE_TYPES: &[&str] = &[
    "PostgreSQL Community",
    "MariaDB Community",
    "MySQL Community",
    "EPAS",
    "Microsoft SQL Server Enterprise",
    "Microsoft SQL Server Standard",
    "Redis OSS Sentinel",
    "Valkey Sentinel",
    "Kafka",
    "Elasticsearch Enterprise",
    "OpenSearch",
    "Vertica Enterprise",
    "Vertica Community",
    "Scalable DB MariaDB Community",
];

/// Filters of List Engine Versions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct VersionFilter {
    /// Only this one.
    pub(crate) id: Option<String>,
    /// Only of this image type.
    pub(crate) image_type: Option<String>,
    /// Those whose support has ended too.
    pub(crate) ended_too: bool,
}

/// Reads the query of List Engine Versions.
pub(crate) fn list_engine_versions(query: &Query) -> Result<VersionFilter, Refusal> {
    let faults = Faults::default();
    let ended_too = match query.get("eos_included").map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "0" | "no" | "off") => false,
        Some("true" | "1" | "yes" | "on") => true,
        Some(_) => {
            faults.invalid("eos_included", "Input should be a valid boolean");
            false
        }
    };
    let image_type = query.get("product_image_type");
    if image_type.is_some_and(|image_type| !IMAGE_TYPES.contains(&image_type)) {
        let quoted: Vec<String> = IMAGE_TYPES.iter().map(|image_type| format!("'{image_type}'")).collect();
        faults.invalid("product_image_type", format!("Input should be {}", quoted.join(", ")));
    }
    faults.result()?;
    Ok(VersionFilter { id: query.get("id").map(str::to_owned), image_type: image_type.map(str::to_owned), ended_too })
}

/// A sorted request by name: whether the last comes first.
fn by_name(query: &Query, faults: &Faults) -> (String, bool) {
    let sort = query.get("sort").unwrap_or("name:asc");
    if !["name:asc", "name:desc"].contains(&sort) {
        faults.invalid("sort", "String should match pattern '^name:(asc|desc)$'");
    }
    (sort.to_owned(), sort == "name:desc")
}

/// Filters of List Parameter Groups.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GroupFilter {
    /// Only of this major version.
    pub(crate) major_version: Option<String>,
    /// Only of this image type.
    pub(crate) image_type: Option<String>,
    /// `name:asc`.
    pub(crate) sort: String,
    /// The last name first.
    pub(crate) descending: bool,
}

/// Reads the query of List Parameter Groups.
pub(crate) fn list_parameter_groups(query: &Query) -> Result<GroupFilter, Refusal> {
    let faults = Faults::default();
    let (sort, descending) = by_name(query, &faults);
    faults.result()?;
    let text = |key: &str| query.get(key).map(str::to_owned);
    Ok(GroupFilter { major_version: text("major_version"), image_type: text("product_image_type"), sort, descending })
}

/// A request for a page of a group's parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ParameterListing {
    /// Which group.
    pub(crate) group: String,
    /// `name:asc`.
    pub(crate) sort: String,
    /// The last name first.
    pub(crate) descending: bool,
    /// Page, from 0.
    pub(crate) page: u64,
    /// Rows per page.
    pub(crate) size: u64,
}

/// Reads the query of List Parameters.
pub(crate) fn list_parameters(query: &Query) -> Result<ParameterListing, Refusal> {
    let faults = Faults::default();
    let size = number(query, "size", 20, MOST_ROWS, &faults);
    let page = number(query, "page", 0, i32::MAX as u64, &faults);
    let (sort, descending) = by_name(query, &faults);
    let group = query.get("dbaas_parameter_group_id").map(str::to_owned);
    if group.is_none() {
        faults.invalid("dbaas_parameter_group_id", "Field required");
    }
    faults.result()?;
    Ok(ParameterListing { group: group.unwrap_or_default(), sort, descending, page, size })
}

/// Reads the body of Set Security Group Rules: addresses to add and to remove.
pub(crate) fn security_group_rules(body: &[u8]) -> Result<(Vec<String>, Vec<String>), Refusal> {
    let object = object(body)?;
    let faults = Faults::default();
    let form = Form::whole(&object, &faults);
    let add = addresses(form.optional_list("add_ip_addresses", MOST_ENTRIES), &faults);
    let remove = addresses(form.optional_list("del_ip_addresses", MOST_ENTRIES), &faults);
    form.close();
    faults.result()?;
    Ok((add, remove))
}

/// Addresses and networks, verbatim and in order; blank entries are left out, duplicates refused.
fn addresses(items: Option<Items<'_>>, faults: &Faults) -> Vec<String> {
    let mut seen = Vec::new();
    let mut kept = Vec::new();
    for (path, text) in items.map(|items| items.texts()).unwrap_or_default() {
        match allow_list::parse_entry(text) {
            Err(problem) => faults.add(problem.field(path)),
            Ok(network) if seen.contains(&network) => faults.invalid(path, format!("'{text}' is listed twice.")),
            Ok(network) => {
                seen.push(network);
                kept.push(text.to_owned());
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect() -> Dialect {
        Dialect::choose(None, Some("mariadb 1.0")).expect("a dialect")
    }
    fn listing(raw: &str) -> Result<Listing, Refusal> {
        list_clusters(&Query::parse(Some(raw)), dialect())
    }

    #[test]
    fn a_list_request_without_a_query_has_the_documented_defaults() {
        let listing = listing("").expect("valid");
        assert_eq!((listing.page, listing.size, listing.sort.as_str()), (0, 20, "name:asc"));
        assert_eq!((listing.command.offset, listing.command.limit, listing.command.descending), (0, 20, false));
        assert_eq!(listing.command, super::tests::listing("size=&page=&sort=&name=&service_state=&database_name=").expect("valid").command);
    }

    #[test]
    fn pages_and_sorts_are_read() {
        let listing = listing("size=7&page=3&sort=created_at%3Adesc&name=a&service_state=RUNNING&database_name=d").expect("valid");
        assert_eq!((listing.command.offset, listing.command.limit, listing.command.descending), (21, 7, true));
        assert_eq!(listing.command.state, Some(ServiceState::Running));
        assert!(super::tests::listing("size=0").is_ok() && super::tests::listing("size=1000").is_ok());
    }

    #[test]
    fn pages_sorts_and_states_out_of_range_are_refused_all_at_once() {
        for bad in ["size=1001", "size=-1", "size=x", "size=99999999999999999999", "page=-1", "page=2147483648", "size=1.5", "size=%2B1"] {
            assert!(listing(bad).is_err(), "{bad}");
        }
        for bad in ["sort=name", "sort=name:up", "sort=id:asc", "sort=:asc", "sort=name:asc,created_at:asc"] {
            assert!(listing(bad).is_err(), "{bad}");
        }
        assert_eq!(listing("size=-1&page=x&sort=y&service_state=z").expect_err("refused").problems().count(), 3);
        assert!(listing("service_state=running").expect("any word will do").matches_nothing);
    }

    #[test]
    fn a_filter_may_be_a_python_truth_value_and_name_a_foreign_image_type() {
        let filter = |raw: &str| list_engine_versions(&Query::parse(Some(raw)));
        assert!(filter("eos_included=True").expect("valid").ended_too);
        assert!(!filter("eos_included=False").expect("valid").ended_too);
        assert!(filter("product_image_type=Kafka").is_ok());
        assert!(filter("eos_included=perhaps").is_err() && filter("product_image_type=Oracle").is_err());
    }

    #[test]
    fn rules_are_read_in_order_and_blanks_left_out() {
        let rules = |body: &str| security_group_rules(body.as_bytes());
        assert_eq!(
            rules(r#"{"add_ip_addresses": ["10.0.0.2", "", "10.0.0.0/24"], "del_ip_addresses": null}"#).expect("valid"),
            (vec!["10.0.0.2".into(), "10.0.0.0/24".into()], vec![])
        );
        for nothing in ["{}", r#"{"add_ip_addresses": [""], "del_ip_addresses": []}"#] {
            assert_eq!(rules(nothing).expect("nothing to change is no fault"), (vec![], vec![]));
        }
        for bad in [
            r#"{"add_ip_addresses": ["10.0.0.1/8"]}"#,
            r#"{"add_ip_addresses": ["10.0.0.1", "10.0.0.1/32"]}"#,
            r#"{"add_ip_addresses": [5]}"#,
            r#"{"add_ip_addresses": "10.0.0.1"}"#,
            r#"{"add": ["10.0.0.1"]}"#,
        ] {
            assert!(rules(bad).is_err(), "{bad}");
        }
    }
}
