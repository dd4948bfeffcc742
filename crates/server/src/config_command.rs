//! `moorage config`: what a configuration file says, before a server is started with it.

use crate::{config, output, serve};
use anyhow::Result;
use clap::Subcommand;
use std::path::PathBuf;
use std::process::ExitCode;

/// What can be done with a configuration file.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Check a file and print what would be in force: its settings, and the defaults of all others
    Check {
        /// The file; without one, the defaults are printed.
        #[arg(env = "MOORAGE_CONFIG")]
        file: Option<PathBuf>,
    },
}

/// Carries out a command.
pub fn run(command: ConfigCommand) -> Result<ExitCode> {
    let ConfigCommand::Check { file } = command;
    let config = config::read(file.as_deref())?;
    output::print(toml::to_string_pretty(&effective(&config))?.trim_end());
    // Not refused: a server has to start without the file system that an engine is on.
    for prefix in config.engines.prefixes.iter().filter(|prefix| !prefix.is_dir()) {
        output::say(&format!("`engines.prefixes`: {} is not a directory at present; the engines there would be missing", prefix.display()));
    }
    output::say(&match &file {
        Some(file) => format!("{} can be used", file.display()),
        None => "no file was named; these are the defaults".to_owned(),
    });
    Ok(ExitCode::SUCCESS)
}

fn effective(config: &config::Config) -> toml::Table {
    let mut server = toml::Table::new();
    server.insert("listen".into(), config.server.listen.clone().unwrap_or_else(|| serve::LISTEN.to_owned()).into());
    if let Some(url) = &config.server.public_url {
        server.insert("public_url".into(), url.clone().into());
    }
    for (key, path) in [("tls_cert", &config.server.tls_cert), ("tls_key", &config.server.tls_key)] {
        if let Some(path) = path {
            server.insert(key.into(), path.display().to_string().into());
        }
    }
    let subnet = |subnet: &config::SubnetSection| {
        let named = [("id".to_owned(), subnet.id.clone().into()), ("cidr".to_owned(), subnet.cidr.trunc().to_string().into())];
        let mut table = toml::Table::from_iter(named);
        table.extend(subnet.interface.iter().map(|interface| ("interface".to_owned(), interface.clone().into())));
        table
    };
    let subnets: Vec<toml::Value> = config.network.subnets.iter().map(|section| subnet(section).into()).collect();
    let mut network = toml::Table::from_iter([("subnets".to_owned(), subnets.into())]);
    network.extend(config.public_addresses().map(|offered| {
        let ports = format!("{}-{}", offered.ports.start(), offered.ports.end());
        let told = [("address", offered.address.to_string()), ("ports", ports), ("listen", offered.listen.to_string())];
        ("publish".to_owned(), toml::Table::from_iter(told.map(|(key, value)| (key.to_owned(), value.into()))).into())
    }));
    let prefixes: Vec<toml::Value> = config.engines.prefixes.iter().map(|prefix| prefix.display().to_string().into()).collect();
    let number = |value: usize| toml::Value::from(i64::try_from(value).unwrap_or(i64::MAX));
    let connections = config.limits.connections.unwrap_or(serve::MOST_CONNECTIONS);
    let mut storage = toml::Table::from_iter([("spares".to_owned(), number(config.storage.spares.unwrap_or(serve::SPARES)))]);
    storage.extend(config.storage.path.iter().map(|path| ("path".to_owned(), path.display().to_string().into())));
    storage.extend(config.storage.driver.iter().map(|driver| ("driver".to_owned(), driver.clone().into())));
    let overcommit = config.limits.overcommit();
    let mut limits = toml::Table::from_iter([
        ("connections".to_owned(), i64::from(connections).into()),
        ("memory_overcommit".to_owned(), overcommit.memory.into()),
        ("disk_overcommit".to_owned(), overcommit.disk.into()),
    ]);
    limits.extend(config.limits.reserve_gb.map(|gib| ("reserve_gb".to_owned(), i64::from(gib).into())));
    let days = config.databases.quarantine_days.unwrap_or(config::QUARANTINE_DAYS);
    let mut store = toml::Table::new();
    if let Some(url) = &config.store.url {
        store.insert("url".into(), without_password(url).into());
    }
    toml::Table::from_iter([
        ("server".to_owned(), server.into()),
        ("store".to_owned(), store.into()),
        ("network".to_owned(), network.into()),
        ("storage".to_owned(), storage.into()),
        ("engines".to_owned(), toml::Table::from_iter([("prefixes".to_owned(), prefixes.into())]).into()),
        ("limits".to_owned(), limits.into()),
        ("databases".to_owned(), toml::Table::from_iter([("quarantine_days".to_owned(), i64::from(days).into())]).into()),
    ])
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let Some((user, place)) = rest.rsplit_once('@') else { return url.to_owned() };
    match user.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{place}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        assert_eq!(without_password("postgres://a:b@c:1/d"), "postgres://a:***@c:1/d");
        assert_eq!(without_password("postgres://a:b@b@c/d"), "postgres://a:***@c/d");
        assert_eq!(without_password("postgres://a@c/d"), "postgres://a@c/d");
        assert_eq!(without_password("postgres:///d?host=/run"), "postgres:///d?host=/run");
    }

    #[test]
    fn what_is_printed_is_a_file_that_says_the_same() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = toml::to_string_pretty(&effective(&config::Config::default())).expect("TOML");
        std::fs::write(file.path(), &text).expect("written");
        let again = config::read(Some(file.path())).expect("it can be used");
        assert_eq!(toml::to_string_pretty(&effective(&again)).expect("TOML"), text);
        assert!(text.contains("listen = \"127.0.0.1:8440\"") && text.contains("connections = 100"), "{text}");
    }
}
