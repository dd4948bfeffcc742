//! What a server has on offer: `moorage server-type list`, `moorage subnet list`, `moorage watcher list`, `moorage host show`.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cluster::pretty;
use crate::failure::Failure;
use crate::options::Output;
use crate::server::Server;
use crate::table::{properties, rows};
use crate::talk::Talk;

/// What can be done with server types.
#[derive(Debug, Subcommand)]
pub enum ServerTypeCommand {
    /// Lists the sizes that clusters can have
    List,
}

/// What can be done with subnets.
#[derive(Debug, Subcommand)]
pub enum SubnetCommand {
    /// Lists the ranges that endpoints take their addresses from
    List,
}

/// What can be done with watchers.
#[derive(Debug, Subcommand)]
pub enum WatcherCommand {
    /// Lists what looks after clusters in the background, when it last did and whether that worked
    List,
}

/// What can be done with the server's host.
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Shows what the server's machine can enforce
    Show,
}

/// A list that one request answers: its path, and headings with the keys that fill them.
struct Listed {
    path: &'static str,
    columns: &'static [(&'static str, &'static str)],
}

const SERVER_TYPES: Listed = Listed {
    path: "/server-types",
    columns: &[("name", "name"), ("vcpu", "cpu"), ("memory (gib)", "memory_gb"), ("enforced", "enforced")],
};
const SUBNETS: Listed = Listed { path: "/subnets", columns: &[("id", "id"), ("range", "cidr"), ("interface", "interface")] };
const WATCHERS: Listed = Listed {
    path: "/watchers",
    columns: &[
        ("name", "name"),
        ("every (s)", "period_seconds"),
        ("last look", "began_at"),
        ("took (s)", "took_seconds"),
        ("looks", "runs"),
        ("failed", "failures"),
        ("failure of the last", "failure"),
    ],
};

impl Listed {
    async fn show(&self, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
        let items = server.get_all(self.path, &[]).await?;
        if output == Output::Json {
            return talk.data(&pretty(&json!(items)));
        }
        let headings: Vec<_> = self.columns.iter().map(|(heading, _)| *heading).collect();
        let row = |item: &Value| self.columns.iter().map(|(_, key)| cell(&item[*key])).collect();
        talk.data(&rows(&headings, items.iter().map(row)))
    }
}

/// A value in a table.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|value| value.fract() != 0.0) {
            Some(value) => format!("{value:.3}"),
            None => format!("{:.0}", number.as_f64().unwrap_or_default()),
        },
        other => other.to_string(),
    }
}

/// Lists the server types.
pub async fn server_types(command: ServerTypeCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let ServerTypeCommand::List = command;
    SERVER_TYPES.show(server, output, talk).await
}

/// Lists the subnets.
pub async fn subnets(command: SubnetCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let SubnetCommand::List = command;
    SUBNETS.show(server, output, talk).await
}

/// Lists the watchers.
pub async fn watchers(command: WatcherCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let WatcherCommand::List = command;
    WATCHERS.show(server, output, talk).await
}

/// Shows the host.
pub async fn host(command: HostCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let HostCommand::Show = command;
    let host = server.get("/host", &[]).await?;
    if output == Output::Json {
        return talk.data(&pretty(&host));
    }
    let mut lines = vec![("id".to_owned(), Some(cell(&host["id"])))];
    let abilities = host["abilities"].as_object().into_iter().flatten();
    lines.extend(abilities.map(|(name, value)| (name.replace('_', " "), Some(cell(value)))));
    let lines: Vec<_> = lines.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    talk.data(&properties(&lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_people_write_them() {
        let cells = [json!(null), json!(true), json!(2), json!(3.0), json!(0.00123), json!("eth0")];
        assert_eq!(cells.each_ref().map(cell), ["", "yes", "2", "3", "0.001", "eth0"]);
    }
}
