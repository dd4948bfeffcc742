//! What is inside a cluster: as the store has it, and as the engine itself says.

use super::{Cluster, Installation};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// An engine, asked directly.
struct Engine<'a> {
    cluster: &'a Cluster,
    socket: PathBuf,
}

impl<'a> Engine<'a> {
    fn of(installation: &Installation, cluster: &'a Cluster) -> Self {
        let instance = cluster.shown["instances"][0]["id"].as_str().expect("an instance");
        let wanted = format!("*{instance}*");
        let found = Command::new("find").arg("/run/moorage").arg(&installation.directory).args(["-type", "s", "-path", &wanted]).output();
        let found = String::from_utf8_lossy(&found.expect("find runs").stdout).into_owned();
        let socket = found.lines().find(|path| path.ends_with("mariadb.sock") || path.contains(".s.PGSQL."));
        Self { cluster, socket: PathBuf::from(socket.expect("it listens at a socket")) }
    }
}

impl Engine<'_> {
    fn ask(&self, question: [&str; 2]) -> BTreeSet<String> {
        let output = match self.cluster.engine.as_str() {
            "mariadb" => Command::new("mariadb").args(["--no-defaults", "-N", "-B", "-e", question[0], "-S"]).arg(&self.socket).output(),
            _ => {
                let directory = self.socket.parent().expect("a directory");
                Command::new("psql")
                    .args(["-XAtq", "-U", "moorage_admin", "-d", "postgres", "-c", question[1], "-h"])
                    .arg(directory)
                    .output()
            }
        };
        let output = output.expect("the stock client runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
    /// Databases and accounts as the engine itself says.
    fn inventory(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let databases = self.ask([
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')",
            "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname !~ '^(postgres|moorage_.*)$'",
        ]);
        let accounts = self.ask([
            "SELECT User FROM mysql.global_priv WHERE Host = '%' AND User NOT LIKE 'moorage%'",
            "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname !~ '^moorage_'",
        ]);
        (databases, accounts)
    }
}

/// Rows of a cluster's databases.
pub fn databases(installation: &Installation, cluster: &Cluster) -> Vec<Value> {
    let (status, page) = installation.native("GET", &format!("/moorage/v1/clusters/{}/databases?limit=1000", cluster.id), None);
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().cloned().expect("rows")
}

/// The store's databases and accounts are the engine's, and every password the store knows opens what it should.
pub fn compare(installation: &Installation, cluster: &Cluster) -> usize {
    let engine = Engine::of(installation, cluster);
    let rows = databases(installation, cluster);
    let (mut names, mut users, mut tried) = (BTreeSet::new(), BTreeSet::new(), 0);
    for row in &rows {
        let name = row["name"].as_str().expect("a name");
        assert_eq!(row["stage"], "made", "{row}");
        names.insert(name.to_owned());
        for credential in row["credentials"].as_array().expect("credentials") {
            let user = credential["user"].as_str().expect("a user");
            assert_eq!(credential["stage"], "made", "{row}");
            users.insert(user.to_owned());
            let at = format!("/moorage/v1/clusters/{}/databases/{name}/credentials/{user}/password", cluster.id);
            let (status, shown) = installation.native("GET", &at, None);
            assert_eq!(status == 200, credential["password_known"] == true, "{status} {shown}");
            let Some(password) = shown["password"].as_str() else { continue };
            assert_eq!(
                super::log_in(&cluster.engine, &cluster.address, cluster.port, name, user, password),
                Ok("1".to_owned()),
                "{user} of {name}"
            );
            tried += 1;
        }
    }
    assert_eq!(engine.inventory(), (names, users), "{}", cluster.engine);
    tried
}
