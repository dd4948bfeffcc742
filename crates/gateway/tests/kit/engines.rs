//! Real engines, started once per test program; a small watcher removes them when the program ends, however it ends.

use super::wait_for;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

const POSTGRESQL: &str = "/usr/lib/postgresql/15/bin";

/// A running engine.
pub struct Engine {
    pub socket: PathBuf,
    pub folder: PathBuf,
}

/// Password of every account the tests make.
pub const PASSWORD: &str = "a pass phrase";

fn account(name: &str) -> (u32, u32) {
    let line = fs::read_to_string("/etc/passwd").unwrap().lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap().to_owned();
    let mut numbers = line.split(':').skip(2).map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn own(folder: &Path, (uid, gid): (u32, u32)) {
    std::os::unix::fs::chown(folder, Some(uid), Some(gid)).unwrap();
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn folder(name: &str) -> PathBuf {
    let folder = tempfile::Builder::new().prefix(&format!("moorage-{name}-")).tempdir().unwrap().keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Starts the server and a watcher that outlives this program just long enough to remove both server and files.
#[expect(clippy::zombie_processes, reason = "both outlive this program, by design")]
fn start(command: &mut Command, (uid, gid): (u32, u32), folder: &Path) {
    let log = fs::File::create(folder.join("log")).unwrap();
    command.uid(uid).gid(gid).current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let server = command.spawn().expect("the server starts");
    let script = "cat >/dev/null; kill -QUIT $0; for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 $0 || break; sleep 0.1; done; kill -KILL $0; rm -rf \"$1\"";
    let mut watcher = Command::new("sh");
    watcher.args(["-c", script, &server.id().to_string()]).arg(folder);
    let mut watcher = watcher.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    // Closed by the kernel when this program ends.
    std::mem::forget(watcher.stdin.take());
}

/// PostgreSQL with scram passwords for everybody, and the account `alice` with the database `shop`.
pub fn postgresql() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let folder = folder("pg");
        let who = account("postgres");
        own(&folder, who);
        fs::write(folder.join("password"), PASSWORD).unwrap();
        let mut init = Command::new(format!("{POSTGRESQL}/initdb"));
        init.args([
            "-D",
            "data",
            "-U",
            "moorage_admin",
            "-A",
            "scram-sha-256",
            "--pwfile",
            "password",
            "-N",
            "-E",
            "UTF8",
            "--locale",
            "C",
        ]);
        run(init.uid(who.0).gid(who.1).current_dir(&folder));
        let mut server = Command::new(format!("{POSTGRESQL}/postgres"));
        server.args(["-D", "data", "-k"]).arg(&folder);
        server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=50"]);
        start(&mut server, who, &folder);
        let engine = Engine { socket: folder.join(".s.PGSQL.5432"), folder };
        let admin = |sql: &str| {
            let mut psql = Command::new("psql");
            psql.arg("-h").arg(&engine.folder).args(["-U", "moorage_admin", "-d", "postgres", "-Atqc", sql]).env("PGPASSWORD", PASSWORD);
            psql
        };
        wait_for("PostgreSQL answers", || admin("select 1").output().unwrap().status.success().then_some(()));
        for role in ["alice", "postgres", "root"] {
            run(&mut admin(&format!("create role {role} login password '{PASSWORD}'")));
        }
        run(&mut admin("create database shop owner alice"));
        engine
    })
}

/// MariaDB with Debian's own accounts, and the account `alice` with the database `shop`.
pub fn mariadb() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let folder = folder("maria");
        let who = account("nobody");
        let data = folder.join("data");
        // A server that starts removes the temporary tables of every other one that uses the same directory.
        let temporary = folder.join("tmp");
        fs::create_dir(&temporary).unwrap();
        own(&temporary, who);
        let temporary = format!("--tmpdir={}", temporary.display());
        run(Command::new("mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=socket", "--auth-root-socket-user=root"])
            .args(["--user=nobody", "--innodb-buffer-pool-size=16M", "--innodb-flush-method=nosync"])
            .args([&temporary, &format!("--datadir={}", data.display())]));
        own(&folder, who);
        let engine = Engine { socket: folder.join("s.sock"), folder };
        let mut server = Command::new("/usr/sbin/mariadbd");
        server.args([
            "--no-defaults",
            "--skip-networking",
            "--skip-name-resolve",
            "--proxy-protocol-networks=localhost",
            "--local-infile=1",
        ]);
        server.args(["--innodb-buffer-pool-size=32M", "--innodb-flush-method=nosync", "--max-allowed-packet=64M", "--max-connections=50"]);
        server.args([&temporary, &format!("--datadir={}", data.display())]).arg(format!("--socket={}", engine.socket.display()));
        start(&mut server, who, &engine.folder);
        let admin = |sql: &str| {
            let mut client = Command::new("mariadb");
            client.args(["--no-defaults", "-uroot", "-Ne", sql]).arg(format!("--socket={}", engine.socket.display()));
            client
        };
        wait_for("MariaDB answers", || admin("select 1").output().unwrap().status.success().then_some(()));
        run(&mut admin(&format!(
            "create database shop; create user alice@'%' identified by '{PASSWORD}'; grant all on shop.* to alice@'%';
             create user nopass@'%';
             create user moorage_admin@'%' identified by '{PASSWORD}'; create user mysql@'%' identified by '{PASSWORD}'"
        )));
        engine
    })
}

/// What a client program said.
pub struct Said {
    pub success: bool,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Self { success: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Runs a client program to its end.
pub fn said(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).output().expect("the client runs").into()
}
