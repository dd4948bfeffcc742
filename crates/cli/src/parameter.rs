//! `moorage parameter-group ...` and `moorage cluster parameters`.

use clap::Subcommand;
use serde_json::Value;

use crate::cluster::pretty;
use crate::failure::Failure;
use crate::options::Output;
use crate::server::{Server, segment};
use crate::table::rows;
use crate::talk::Talk;

/// What can be done with parameter groups.
#[derive(Debug, Subcommand)]
pub enum ParameterGroupCommand {
    /// Lists the parameter groups of the engines that are installed
    List,
    /// Shows the parameters of a group with the engine's defaults
    Show {
        /// Name or identifier of the group
        group: String,
    },
}

/// Carries out a command.
pub async fn carry_out(command: ParameterGroupCommand, server: &Server, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    match command {
        ParameterGroupCommand::List => {
            let list = server.get("/parameter-groups", &[]).await?;
            if output == Output::Json {
                return talk.data(&pretty(&list["items"]));
            }
            let row = |group: &Value| ["name", "engine", "major_version", "id"].map(|key| text(group, key)).to_vec();
            talk.data(&rows(&["name", "engine", "version", "id"], items(&list["items"]).map(row)))
        }
        ParameterGroupCommand::Show { group } => {
            let group = server.get(&format!("/parameter-groups/{}", segment(&group)), &[]).await?;
            if output == Output::Json {
                return talk.data(&pretty(&group));
            }
            let row = |parameter: &Value| ["name", "default_value", "description"].map(|key| text(parameter, key)).to_vec();
            talk.data(&rows(&["name", "default", "what it is for"], items(&group["parameters"]).map(row)))
        }
    }
}

/// Shows what a cluster's engine applies.
pub async fn applied(server: &Server, cluster: &str, name: Option<&str>, output: Output, talk: &mut Talk) -> Result<(), Failure> {
    let mut applied = server.get(&format!("/clusters/{}/parameters", segment(cluster)), &[]).await?;
    if let (Some(part), Some(list)) = (name, applied["items"].as_array_mut()) {
        list.retain(|parameter| text(parameter, "name").contains(part));
    }
    if output == Output::Json {
        return talk.data(&pretty(&applied));
    }
    let row = |parameter: &Value| {
        let change = match (parameter["modifiable"] == true, parameter["needs_restart"] == true) {
            (false, _) => "managed",
            (true, true) => "restart",
            (true, false) => "at once",
        };
        let value = format!("{} {}", text(parameter, "applied_value"), text(parameter, "unit"));
        let mut cells = vec![text(parameter, "name"), value.trim().to_owned()];
        cells.extend(["default_value", "allowed_values"].map(|key| text(parameter, key)));
        cells.push(change.to_owned());
        cells
    };
    talk.say(&format!("as the engine applied them at {}", text(&applied, "read_at")));
    talk.data(&rows(&["name", "applied", "default", "allowed", "a change takes effect"], items(&applied["items"]).map(row)))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
