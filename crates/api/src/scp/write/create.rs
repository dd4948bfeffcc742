//! The body of Create Cluster, per service and version.

use super::super::dialect::Dialect;
use super::addresses;
use crate::kit::form::{Faults, Form, TextRule, object};
use crate::kit::refusal::Refusal;
use moorage_app::{CreateCluster, CreateDatabase, CreateGroup, CreateInstance, CreateVolume, VersionChoice};
use moorage_domain::allow_list::MOST_ENTRIES;
use moorage_domain::cluster::{BackupWish, MaintenanceWindow, Tag};
use moorage_domain::engine::EngineName;
use secrecy::SecretString;
use std::net::Ipv4Addr;

/// The documented default.
const TIMEZONE: &str = "Asia/Seoul";
/// The documented default, the same for both services.
const PORT: u32 = 2866;

const NAME: TextRule = TextRule { pattern: "^[a-zA-Z]*$", matches: letters, length: 3..=20 };
const PREFIX: TextRule = TextRule { pattern: r"^[a-z][a-zA-Z0-9\-]*$", matches: prefix, length: 3..=13 };
const DATABASE_NAME: TextRule = TextRule { pattern: "^[a-zA-Z][a-zA-Z0-9]*$", matches: database_name, length: 3..=20 };
const USER_NAME: TextRule = TextRule { pattern: "^[a-z]*$", matches: lower_letters, length: 2..=20 };
const SHORT_TEXT: TextRule = TextRule { pattern: r"^[ -~]*$", matches: printable, length: 1..=64 };
const ENGINE_VERSION_ID: TextRule = TextRule { pattern: r"^[ -~]*$", matches: printable, length: 1..=128 };
const TAG_KEY: TextRule = TextRule { pattern: r"^\P{C}*$", matches: no_controls, length: 1..=128 };
const TAG_VALUE: TextRule = TextRule { pattern: r"^\P{C}*$", matches: no_controls, length: 0..=256 };
/// The schema asks for 8 to 30 characters, the vendor's provider also for a letter, a digit and a special character and
/// for no quotes. Both are asked for here; spaces and characters beyond ASCII are refused because clients and engines
/// disagree on them.
const PASSWORD: TextRule = TextRule {
    pattern: r#"^(?=.*[a-zA-Z])(?=.*[0-9])(?=.*[^a-zA-Z0-9])[!-~]*$, without quotes (' " `)"#,
    matches: password,
    length: 8..=30,
};

const ARCHIVE_MINUTES: TextRule = TextRule { pattern: "^(5|10|30|60)$", matches: |t| matches!(t, "5" | "10" | "30" | "60"), length: 1..=2 };
const RETENTION_DAYS: TextRule = TextRule { pattern: "^([7-9]|[1-2][0-9]|3[0-5])$", matches: |t| plain_number(t, 7..=35), length: 1..=2 };
const HOUR: TextRule = TextRule { pattern: "^([0-9]|1[0-9]|2[0-3])$", matches: |t| plain_number(t, 0..=23), length: 1..=2 };
const PERIOD: TextRule = TextRule { pattern: r"^(0\.5|[1-5]\.5|[1-9]|1[0-9]|2[0-4])$", matches: period_hours, length: 1..=3 };
const TIME: TextRule = TextRule { pattern: "^([01][0-9]|2[0-3])[0-5][0-9]$", matches: time_of_day, length: 4..=4 };

const TWO_DIGIT_HOUR: TextRule = TextRule { pattern: "^([01][0-9]|2[0-3])$", matches: |t| two_digits(t, 24), length: 2..=2 };
const MINUTE: TextRule = TextRule { pattern: "^[0-5][0-9]$", matches: |t| two_digits(t, 60), length: 2..=2 };

const DAYS: &[&str] = &["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
const VOLUME_ROLES: &[&str] = &["OS", "DATA", "ARCHIVE", "TEMP", "BACKUP"];
const VOLUME_TYPES: &[&str] = &["SSD", "SSD_KMS", "HDD", "HDD_KMS"];
const MOST_VOLUMES: usize = 9;
const MOST_TAGS: usize = 50;

/// Reads the body.
pub(crate) fn create_cluster(body: &[u8], dialect: Dialect) -> Result<CreateCluster, Refusal> {
    let object = object(body)?;
    let faults = Faults::default();
    let form = Form::whole(&object, &faults);

    let allow_list = addresses(form.optional_list("allowable_ip_addresses", MOST_ENTRIES), &faults);
    let version = form.ruled_text("dbaas_engine_version_id", &ENGINE_VERSION_ID);
    let name = form.ruled_text("name", &NAME);
    let prefix = form.ruled_text("instance_name_prefix", &PREFIX);
    let subnet = form.ruled_text("subnet_id", &SHORT_TEXT);
    form.expect_key("timezone");
    let timezone = form.optional_ruled_text("timezone", &SHORT_TEXT);
    let maintenance = form.optional_form("maintenance_option").and_then(maintenance);
    let tags = tags(&form);
    let watch_log_collection = watch_log_collection(&form, dialect);
    let asked = availability(&form);
    let init = form.form("init_config_option").and_then(|init| init_config(init, dialect));
    let groups = groups(&form, asked.highly_available);
    form.close();
    faults.result()?;

    let Some(init) = init else { return Err(incomplete()) };
    let (Some(version), Some(name), Some(prefix), Some(subnet)) = (version, name, prefix, subnet) else { return Err(incomplete()) };
    Ok(CreateCluster {
        name: name.to_owned(),
        version: VersionChoice::Id { id: version.to_owned(), within: dialect.engine },
        instance_name_prefix: Some(prefix.to_owned()),
        database: init.database,
        port: Some(init.port),
        allow_list,
        groups,
        subnet: Some(subnet.to_owned()),
        timezone: timezone.unwrap_or(TIMEZONE).to_owned(),
        highly_available: asked.highly_available,
        virtual_address: asked.virtual_address,
        strict: false,
        maintenance,
        backup: init.backup,
        tags,
        service_watch_log_collection: watch_log_collection,
        deletion_protection: false,
        allocation: None,
    })
}

/// A required field without a value is always noted; this is what remains if that were ever forgotten.
fn incomplete() -> Refusal {
    moorage_domain::Problem::new(moorage_domain::ProblemCode::MalformedBody, "The request's body is incomplete.").into()
}

/// How much of a cluster is asked for.
struct Availability {
    highly_available: bool,
    virtual_address: Option<Ipv4Addr>,
}

/// Everything of the vendor's that cannot be honoured is refused by name (decisions 20).
fn availability(form: &Form<'_>) -> Availability {
    let highly_available = form.optional_bool("ha_enabled") == Some(true);
    if form.optional_bool("nat_enabled") == Some(true) {
        form.not_supported("nat_enabled", "address translation");
    }
    for (key, what) in [("origin_cluster_id", "making a cluster out of another one"), ("vip_public_ip_id", "a public address")] {
        if form.optional_text(key).is_some() {
            form.not_supported(key, what);
        }
    }
    let virtual_address = form.optional_address("virtual_ip_address");
    if virtual_address.is_some() && !highly_available {
        form.invalid("virtual_ip_address", "Only a highly available cluster has a virtual address.");
    }
    Availability { highly_available, virtual_address }
}

fn watch_log_collection(form: &Form<'_>, dialect: Dialect) -> bool {
    if !dialect.has_watch_log_collection() {
        return false;
    }
    if dialect.stated {
        form.expect_key("service_watch_log_collection");
    }
    form.optional_bool("service_watch_log_collection").unwrap_or(false)
}

struct InitConfig {
    database: CreateDatabase,
    port: u16,
    backup: Option<BackupWish>,
}

fn init_config(form: Form<'_>, dialect: Dialect) -> Option<InitConfig> {
    if form.optional_bool("audit_enabled") == Some(true) {
        form.not_supported("audit_enabled", "an audit log");
    }
    let name = form.ruled_text("database_name", &DATABASE_NAME);
    let owner = form.ruled_text("database_user_name", &USER_NAME);
    let password = form.ruled_text("database_user_password", &PASSWORD);
    let port = form.optional_number("database_port", 1024..=65535).unwrap_or(PORT);
    let backup = form.optional_form("backup_option").and_then(backup);
    let (character_set, locale) = match dialect.engine {
        EngineName::MariaDb => (form.optional_ruled_text("database_character_set", &SHORT_TEXT), None),
        EngineName::PostgreSql => {
            (form.optional_ruled_text("database_encoding", &SHORT_TEXT), form.optional_ruled_text("database_locale", &SHORT_TEXT))
        }
    };
    form.close();
    let database = CreateDatabase {
        name: name?.to_owned(),
        owner: owner?.to_owned(),
        password: SecretString::from(password?.to_owned()),
        character_set: character_set.map(str::to_owned),
        locale: locale.map(str::to_owned),
    };
    Some(InitConfig { database, port: u16::try_from(port).ok()?, backup })
}

/// A backup option whose fields are all blank is none.
fn backup(form: Form<'_>) -> Option<BackupWish> {
    let wish = BackupWish {
        archive_frequency_minute: form.optional_ruled_text("archive_frequency_minute", &ARCHIVE_MINUTES).map(str::to_owned),
        retention_period_day: form.optional_ruled_text("retention_period_day", &RETENTION_DAYS).map(str::to_owned),
        starting_time_hour: form.optional_ruled_text("starting_time_hour", &HOUR).map(str::to_owned),
    };
    form.close();
    let blank = wish.archive_frequency_minute.is_none() && wish.retention_period_day.is_none() && wish.starting_time_hour.is_none();
    (!blank).then_some(wish)
}

/// A maintenance option whose fields are all blank is none.
fn maintenance(form: Form<'_>) -> Option<MaintenanceWindow> {
    let window = MaintenanceWindow {
        starting_day_of_week: form.optional_choice("starting_day_of_week", DAYS).map(str::to_owned),
        starting_time: form.optional_ruled_text("starting_time", &TIME).map(str::to_owned),
        period_hour: form.optional_ruled_text("period_hour", &PERIOD).map(str::to_owned),
    };
    form.close();
    let blank = window.starting_day_of_week.is_none() && window.starting_time.is_none() && window.period_hour.is_none();
    (!blank).then_some(window)
}

/// Reads the body of Set Maintenance: day, hour, minute and length, which are shown as day, time and length.
pub(crate) fn maintenance_window(body: &[u8]) -> Result<MaintenanceWindow, Refusal> {
    let object = object(body)?;
    let faults = Faults::default();
    let form = Form::whole(&object, &faults);
    let day = form.choice("start_day_of_week", DAYS);
    let hour = form.ruled_text("start_time", &TWO_DIGIT_HOUR);
    let minute = form.ruled_text("start_minute", &MINUTE);
    let length = form.ruled_text("term_hour", &PERIOD);
    form.close();
    faults.result()?;
    let (Some(day), Some(hour), Some(minute), Some(length)) = (day, hour, minute, length) else { return Err(incomplete()) };
    Ok(MaintenanceWindow {
        starting_day_of_week: Some(day.to_owned()),
        starting_time: Some(format!("{hour}{minute}")),
        period_hour: Some(length.to_owned()),
    })
}

/// Reads the body that replaces a cluster's tags.
pub(crate) fn tags_of_cluster(body: &[u8]) -> Result<Vec<Tag>, Refusal> {
    let object = object(body)?;
    let faults = Faults::default();
    let form = Form::whole(&object, &faults);
    form.expect_key("tags");
    let tags = tags(&form);
    form.close();
    faults.result()?;
    Ok(tags)
}

fn tags(form: &Form<'_>) -> Vec<Tag> {
    let mut tags: Vec<Tag> = Vec::new();
    for item in form.optional_list("tags", MOST_TAGS).map(|items| items.forms()).unwrap_or_default() {
        let key = item.ruled_text("key", &TAG_KEY).map(str::to_owned);
        let value = item.optional_ruled_text("value", &TAG_VALUE).map(str::to_owned);
        if let Some(key) = key {
            if tags.iter().any(|tag| tag.key == key) {
                item.invalid("key", "The key is listed twice.");
            }
            tags.push(Tag { key, value });
        }
        item.close();
    }
    tags
}

/// Without high availability there is one group with one instance; with it one with an active one and a standby.
fn groups(form: &Form<'_>, highly_available: bool) -> Vec<CreateGroup> {
    let Some(items) = form.list("instance_groups", 16) else { return Vec::new() };
    if items.len() != 1 {
        items.invalid("There should be exactly one instance group.");
    }
    items.forms().into_iter().map(|form| group(form, highly_available)).collect()
}

fn group(form: Form<'_>, highly_available: bool) -> CreateGroup {
    let role = form.choice("role_type", &["ACTIVE", "ACTIVE_STANDBY"]);
    match role {
        Some("ACTIVE_STANDBY") if !highly_available => {
            form.invalid("role_type", "ACTIVE_STANDBY is for a highly available cluster; use ACTIVE.");
        }
        Some("ACTIVE") if highly_available => form.invalid("role_type", "ACTIVE is for a single instance; use ACTIVE_STANDBY."),
        _ => {}
    }
    let server_type = form.ruled_text("server_type_name", &SHORT_TEXT);
    let mut volumes = Vec::new();
    if let Some(items) = form.list("block_storage_groups", MOST_VOLUMES) {
        volumes = items.forms().into_iter().map(volume).collect();
        let count = |role: &str| volumes.iter().filter(|volume| volume.role == role).count();
        if items.len() == 0 || (count("OS") == 0 && count("DATA") == 0 && volumes.iter().all(|volume| !volume.role.is_empty())) {
            items.invalid("There should be an OS or a DATA volume.");
        }
        if count("OS") > 1 {
            items.invalid("There should be one OS volume at most.");
        }
    }
    let mut instances = Vec::new();
    if let Some(items) = form.optional_list("instances", 16) {
        if items.len() > 1 && !highly_available {
            items.invalid("A cluster without high availability has one instance.");
        }
        let roles = |instances: &[CreateInstance], role: &str| instances.iter().filter(|instance| instance.role == role).count();
        let count = items.len();
        instances = items.forms().into_iter().map(|form| instance(form, highly_available)).collect();
        if highly_available && count > 0 && (count, roles(&instances, "ACTIVE"), roles(&instances, "STANDBY")) != (2, 1, 1) {
            items.invalid("There should be one ACTIVE and one STANDBY instance.");
        }
    }
    form.close();
    CreateGroup { role: role.unwrap_or_default().to_owned(), server_type: server_type.unwrap_or_default().to_owned(), volumes, instances }
}

fn volume(form: Form<'_>) -> CreateVolume {
    let volume = CreateVolume {
        role: form.choice("role_type", VOLUME_ROLES).unwrap_or_default().to_owned(),
        size_gb: form.number("size_gb", 16..=5120).unwrap_or_default(),
        volume_type: form.optional_choice("volume_type", VOLUME_TYPES).unwrap_or("SSD").to_owned(),
    };
    form.close();
    volume
}

fn instance(form: Form<'_>, highly_available: bool) -> CreateInstance {
    let role = form.choice("role_type", &["ACTIVE", "STANDBY"]);
    if role == Some("STANDBY") && !highly_available {
        form.invalid("role_type", "STANDBY is for a highly available cluster; use ACTIVE.");
    }
    if form.optional_text("public_ip_id").is_some() {
        form.not_supported("public_ip_id", "a public address");
    }
    let service_address = form.optional_address("service_ip_address");
    form.close();
    CreateInstance { role: role.unwrap_or_default().to_owned(), service_address }
}

fn letters(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphabetic())
}
fn lower_letters(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase())
}
fn printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
fn no_controls(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
fn prefix(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
fn database_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
fn password(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\'' | b'"' | b'`'))
        && has(u8::is_ascii_alphabetic)
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_punctuation)
}
/// A number without a leading zero or sign, within a range.
fn plain_number(text: &str, range: std::ops::RangeInclusive<u8>) -> bool {
    text.parse::<u8>().is_ok_and(|number| number.to_string() == text && range.contains(&number))
}
fn period_hours(text: &str) -> bool {
    match text.strip_suffix(".5") {
        Some(whole) => plain_number(whole, 0..=5),
        None => plain_number(text, 1..=24),
    }
}
fn two_digits(text: &str, below: u8) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u8>().is_ok_and(|number| number < below)
}
fn time_of_day(text: &str) -> bool {
    let number = |range: std::ops::Range<usize>| {
        text.get(range).filter(|t| t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse::<u8>().ok())
    };
    text.len() == 4 && number(0..2).is_some_and(|hour| hour < 24) && number(2..4).is_some_and(|minute| minute < 60)
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
