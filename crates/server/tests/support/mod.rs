//! A real server in a directory of its own, and the clients users have.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod inside;
pub mod steady;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_moorage");
/// The owner's password in every test.
pub const PASSWORD: &str = "Str0ng!pass";

/// An installation; everything of it is stopped and removed when it goes out of scope, also after a failed test.
pub struct Installation {
    /// Its data directory.
    pub directory: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// A program of its own and the account that runs it; else the program under test as whoever runs the test.
    account: Option<(PathBuf, u32)>,
    server: Option<Child>,
    client: reqwest::blocking::Client,
}

impl Drop for Installation {
    fn drop(&mut self) {
        self.kill_server();
        let stopped = self.program().args(["stop", "--all", "--data-dir"]).arg(&self.directory).output().expect("moorage stop runs");
        if !stopped.status.success() {
            eprintln!("moorage stop failed: {}", String::from_utf8_lossy(&stopped.stderr));
        }
        if std::thread::panicking() {
            eprintln!("--- server log\n{}", std::fs::read_to_string(self.directory.join("serve.log")).unwrap_or_default());
        }
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

impl Installation {
    /// A new installation with a running server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments for `serve`.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(&Self::new_directory(), arguments)
    }

    /// The same in a directory of the test's choice.
    pub fn start_in(directory: &Path, arguments: &[&str]) -> Self {
        let mut installation = Self::prepare_in(directory);
        installation.serve_with(arguments);
        installation
    }

    /// A server whose store is this PostgreSQL database. Another one on the same store is given its master key, as an operator does,
    /// and the credentials of its administrator.
    pub fn start_sharing(store: &str, with: Option<&Self>) -> Self {
        let mut installation = Self::prepare_in(&Self::new_directory());
        installation.keep_store_at(store);
        for file in with.iter().flat_map(|_| ["master.key", "bootstrap.json"]) {
            let from = with.expect("another").directory.join(file);
            std::fs::copy(from, installation.directory.join(file)).expect("copied");
        }
        if with.is_some() {
            // Else it would be taken for ready because the other one answers, and the other one be asked in its place.
            let path = installation.directory.join("bootstrap.json");
            let mut bootstrap: Value = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("a document");
            bootstrap["base_url"] = json!("http://127.0.0.1:1");
            std::fs::write(&path, bootstrap.to_string()).expect("written");
        }
        installation.serve();
        installation
    }

    /// One whose processes have these variables in their environment.
    pub fn start_with_environment(environment: &[(&'static str, String)]) -> Self {
        let mut installation = Self::prepare_in(&Self::new_directory());
        installation.environment.extend_from_slice(environment);
        installation.serve();
        installation
    }

    /// One whose server, engines and gateway all run under an ordinary account. The program has to be where that account can get.
    pub fn start_as(uid: u32, program: &Path) -> Self {
        let mut installation = Self::prepare_in(&Self::new_directory());
        std::os::unix::fs::chown(&installation.directory, Some(uid), Some(uid)).expect("given");
        installation.account = Some((program.to_owned(), uid));
        installation.serve();
        installation
    }

    fn program(&self) -> Command {
        use std::os::unix::process::CommandExt;
        let Some((program, uid)) = &self.account else { return Command::new(PROGRAM) };
        let mut command = Command::new(program);
        // Nothing of root's own is taken along.
        command.uid(*uid).gid(*uid).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
        command
    }

    /// From now on its store is in this PostgreSQL database.
    pub fn keep_store_at(&mut self, url: &str) {
        self.environment.push(("MOORAGE_DATABASE_URL", url.to_owned()));
    }

    fn new_directory() -> PathBuf {
        std::env::temp_dir().join(format!("moorage-test-{}-{:x}", std::process::id(), rand()))
    }

    fn prepare_in(directory: &Path) -> Self {
        let _already_set = rustls::crypto::aws_lc_rs::default_provider().install_default();
        std::fs::create_dir_all(directory).expect("a data directory");
        // Whether certificates are good is for tests about them; here only what is served matters.
        let client = reqwest::blocking::Client::builder().danger_accept_invalid_certs(true).build().expect("a client");
        Self { directory: directory.to_owned(), environment: Vec::new(), account: None, server: None, client }
    }

    /// Starts the server (again) and waits until it is ready.
    pub fn serve(&mut self) {
        self.serve_with(&[]);
    }

    /// The same with more arguments.
    pub fn serve_with(&mut self, arguments: &[&str]) {
        let pid = self.begin_serving(arguments);
        self.until(Duration::from_secs(60), "the server is ready", |this| {
            let holder = std::fs::read_to_string(this.directory.join("serve.lock")).unwrap_or_default();
            let url = this.bootstrap()["base_url"].as_str().unwrap_or_default().to_owned();
            (holder.trim() == pid.to_string()
                && !url.is_empty()
                && this.client.get(format!("{url}/readyz")).send().is_ok_and(|r| r.status().is_success()))
            .then_some(())
        });
    }

    /// Starts the server and does not wait for it; its process id.
    pub fn begin_serving(&mut self, arguments: &[&str]) -> u32 {
        assert!(self.server.is_none(), "one server at a time");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.directory.join("serve.log")).expect("a log");
        let child = self
            .program()
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&self.directory)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let pid = child.id();
        self.server = Some(child);
        pid
    }

    /// Process id of the server.
    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().expect("a running server").id()
    }

    /// `kill -9` of the server.
    pub fn kill_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.kill());
            drop(server.wait());
        }
    }

    /// A clean end of the server; returns how long it took and its exit code.
    pub fn end_server(&mut self) -> (Duration, Option<i32>) {
        let mut server = self.server.take().expect("a running server");
        let begun = Instant::now();
        kill(server.id(), 15);
        let status = server.wait().expect("it ends");
        (begun.elapsed(), status.code())
    }

    /// `bootstrap.json`.
    pub fn bootstrap(&self) -> Value {
        let text = std::fs::read_to_string(self.directory.join("bootstrap.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.bootstrap()["base_url"].as_str().expect("a base URL"))
    }

    /// A request of the native family; status and body (JSON where it is JSON).
    pub fn native(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let bootstrap = self.bootstrap();
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, self.url(path)).bearer_auth(bootstrap["token"].as_str().expect("a token"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request)
    }

    /// A signed request of the SCP family with this `Scp-Api-Version`.
    pub fn scp(&self, version: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string().into_bytes());
        let reply = self.exchange(method, path, &self.signature(version, method, path), body);
        (reply.status, reply.body)
    }

    /// The headers that sign a request of the SCP family now.
    pub fn signature(&self, version: &str, method: &str, path: &str) -> Vec<(String, String)> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        self.signature_at(i64::try_from(now.as_millis()).expect("a time"), version, method, path)
    }

    /// The same as if the request were made at another time, in milliseconds since 1970.
    pub fn signature_at(&self, millis: i64, version: &str, method: &str, path: &str) -> Vec<(String, String)> {
        let bootstrap = self.bootstrap();
        let key = bootstrap["access_key"].as_str().expect("an access key");
        let secret = bootstrap["secret_key"].as_str().expect("a secret key");
        let message = format!("{method}{}{millis}{key}Openapi", self.url(path));
        let signature = moorage_secrets::hmac_sha256_base64(secret.as_bytes(), message.as_bytes());
        let millis = millis.to_string();
        let headers = [
            ("Scp-AccessKey", key),
            ("Scp-Signature", &signature),
            ("Scp-Timestamp", &millis),
            ("Scp-ClientType", "Openapi"),
            ("Scp-Api-Version", version),
        ];
        headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Any request with any headers and any bytes as its body.
    pub fn exchange(&self, method: &str, path: &str, headers: &[(String, String)], body: Option<Vec<u8>>) -> Reply {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, self.url(path));
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = match request.send() {
            Ok(response) => response,
            Err(error) => {
                return Reply {
                    status: 0,
                    content_type: String::new(),
                    request_id: String::new(),
                    body: json!({"error": format!("{error:?}")}),
                };
            }
        };
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let (status, content_type, request_id) = (response.status().as_u16(), header("content-type"), header("x-request-id"));
        let text = response.text().unwrap_or_default();
        Reply { status, content_type, request_id, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    /// Sends these bytes as they are, as no client library would, and returns everything that comes back.
    pub fn raw(&self, bytes: &[u8]) -> String {
        use std::io::{Read, Write};
        let url = self.url("");
        let mut stream = std::net::TcpStream::connect(url.trim_start_matches("http://")).expect("the API listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        stream.write_all(bytes).expect("written");
        let mut reply = Vec::new();
        drop(stream.read_to_end(&mut reply));
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// What there is: clusters and operations by identifier, directories of instances. Nothing that was refused
    /// changes it.
    pub fn inventory(&self) -> Value {
        let ids = |path: &str| {
            let (status, list) = self.native("GET", path, None);
            assert_eq!(status, 200, "{list}");
            let mut ids: Vec<String> = list["items"].as_array().expect("items").iter().map(|item| item["id"].to_string()).collect();
            ids.sort();
            ids
        };
        let mut directories = self.instance_directories();
        directories.sort();
        json!({"clusters": ids("/moorage/v1/clusters?limit=1000"), "operations": ids("/moorage/v1/operations?limit=1000"), "directories": directories})
    }

    /// Creates a cluster through the native family and returns it once it runs.
    pub fn create(&self, engine: &str, name: &str) -> Cluster {
        let accepted = self.ask_for(engine, name);
        self.running(accepted["cluster"]["id"].as_str().expect("an id"))
    }

    /// Asks for a cluster and returns at once.
    pub fn ask_for(&self, engine: &str, name: &str) -> Value {
        let body = json!({"name": name, "engine": engine, "database": {"name": "shop", "owner": "keeper", "password": PASSWORD}});
        let (status, accepted) = self.native("POST", "/moorage/v1/clusters", Some(body));
        assert_eq!(status, 202, "{accepted}");
        assert_ne!(accepted["cluster"]["state"], "RUNNING");
        accepted
    }

    /// The cluster once it runs.
    pub fn running(&self, id: &str) -> Cluster {
        self.reaches(id, "RUNNING")
    }

    /// The cluster once it is in this state; a state nothing leads on from ends the wait.
    pub fn reaches(&self, id: &str, state: &str) -> Cluster {
        let shown = self.until(Duration::from_secs(120), state, |this| {
            let (_, shown) = this.native("GET", &format!("/moorage/v1/clusters/{id}"), None);
            let now = shown["state"].as_str().unwrap_or_default();
            assert!(now == state || !matches!(now, "FAILED" | "ERROR"), "waiting for {state}: {shown}");
            (now == state).then_some(shown)
        });
        Cluster::new(&shown)
    }

    /// The operation once it has ended.
    pub fn ended(&self, id: &str) -> Value {
        self.until(Duration::from_secs(120), "the operation ends", |this| {
            let (_, shown) = this.native("GET", &format!("/moorage/v1/operations/{id}"), None);
            matches!(shown["status"].as_str(), Some("succeeded" | "failed" | "cancelled")).then_some(shown)
        })
    }

    /// Asks again and again until there is an answer.
    pub fn until<T>(&self, limit: Duration, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Process ids whose command line mentions this installation.
    pub fn processes(&self) -> Vec<u32> {
        let mark = self.directory.to_string_lossy().into_owned();
        let entries = std::fs::read_dir("/proc").expect("proc").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(&mark) || cwd.starts_with(&self.directory)
        })
        .collect()
    }

    /// Directories of instances on disk.
    pub fn instance_directories(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.directory.join("instances"));
        entries.map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
    }

    /// What is on the machine of an instance: its processes, its control groups, its directories.
    pub fn traces_of(&self, instance: &str) -> Vec<String> {
        let processes = self.processes().into_iter().filter(|pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(instance) || cwd.to_string_lossy().contains(instance)
        });
        let directories = [Path::new("/sys/fs/cgroup"), Path::new("/run/moorage"), &self.directory];
        let named = directories.into_iter().flat_map(|root| directories_named(root, instance));
        processes.map(|pid| format!("process {pid}")).chain(named).collect()
    }

    /// The eight digits by which everything of the installation is marked on the machine.
    pub fn mark(&self) -> String {
        let identity = std::fs::read_to_string(self.directory.join("identity.json")).expect("an identity");
        let identity: Value = serde_json::from_str(&identity).expect("JSON");
        identity["id"].as_str().expect("an id")[..8].to_owned()
    }

    /// Runs the program's own command line against this installation.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.program()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .args(arguments)
            .arg("--data-dir")
            .arg(&self.directory)
            .stdin(Stdio::null())
            .output()
            .expect("the program runs")
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// Status; 0 if there was no answer.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// `x-request-id`.
    pub request_id: String,
    /// Body, JSON where it is JSON.
    pub body: Value,
}

fn answer(request: reqwest::blocking::RequestBuilder) -> (u16, Value) {
    match request.send() {
        Ok(response) => {
            let status = response.status().as_u16();
            let text = response.text().unwrap_or_default();
            (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
        }
        Err(error) => (0, json!({"error": format!("{error:?}")})),
    }
}

/// The seed document's Create Cluster body with its blanks filled in.
pub fn seed_body(version_id: &str, engine: &str) -> Value {
    let mut body = json!({
        "allowable_ip_addresses": [],
        "dbaas_engine_version_id": version_id,
        "ha_enabled": false,
        "init_config_option": {
            "audit_enabled": false,
            "backup_option": {"archive_frequency_minute": "60", "retention_period_day": "7", "starting_time_hour": "2"},
            "database_character_set": "utf8",
            "database_name": "shop",
            "database_port": 2866,
            "database_user_name": "keeper",
            "database_user_password": PASSWORD
        },
        "instance_groups": [{
            "block_storage_groups": [{"role_type": "OS", "size_gb": 104, "volume_type": "SSD"}],
            "instances": [{"public_ip_id": "", "role_type": "ACTIVE", "service_ip_address": ""}],
            "role_type": "ACTIVE",
            "server_type_name": "db1v1m2"
        }],
        "instance_name_prefix": "shop",
        "maintenance_option": {"period_hour": "", "starting_day_of_week": "MON", "starting_time": ""},
        "name": "shop",
        "nat_enabled": false,
        "origin_cluster_id": "",
        "subnet_id": "default",
        "tags": [],
        "timezone": "Asia/Seoul",
        "vip_public_ip_id": "",
        "virtual_ip_address": ""
    });
    if engine == "postgresql" {
        let options = body["init_config_option"].as_object_mut().expect("options");
        options.remove("database_character_set");
        options.insert("database_encoding".into(), json!("UTF-8"));
        options.insert("database_locale".into(), json!("C"));
        body["name"] = json!("shoppg");
    }
    body
}

/// A cluster as users see it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Identifier.
    pub id: String,
    /// Engine.
    pub engine: String,
    /// Address.
    pub address: String,
    /// Port.
    pub port: u16,
    /// Everything shown.
    pub shown: Value,
}

impl Cluster {
    fn new(shown: &Value) -> Self {
        let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
        Self {
            id: text("id"),
            engine: text("engine"),
            address: text("address"),
            port: u16::try_from(shown["port"].as_u64().unwrap_or(0)).expect("a port"),
            shown: shown.clone(),
        }
    }

    /// Runs SQL with the stock client as the owner; standard output without headers.
    pub fn sql(&self, sql: &str) -> Result<String, String> {
        self.sql_as("keeper", PASSWORD, sql, &[])
    }

    /// Runs SQL with the stock client as anybody, with more arguments for it.
    pub fn sql_as(&self, user: &str, password: &str, sql: &str, more: &[&str]) -> Result<String, String> {
        let output = if self.engine == "postgresql" {
            let tls = more.first().copied().unwrap_or("sslmode=disable");
            let target = format!("host={} port={} dbname=shop user={user} connect_timeout=5 {tls}", self.address, self.port);
            Command::new("psql")
                .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &target, "-c", sql])
                .env("PGPASSWORD", password)
                .output()
        } else {
            let port = self.port.to_string();
            let mut command = Command::new("mariadb");
            command.args([
                "--no-defaults",
                "-N",
                "-B",
                "--protocol=tcp",
                "--connect-timeout=5",
                "-h",
                &self.address,
                "-P",
                &port,
                "-u",
                user,
            ]);
            command.args(more).args(["-D", "shop", "-e", sql]).env("MYSQL_PWD", password).output()
        };
        let output = output.expect("the stock client runs");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// Process id of the engine's main process.
    pub fn engine_pid(&self, installation: &Installation) -> u32 {
        let instance = self.shown["instances"][0]["id"].as_str().expect("an instance").to_owned();
        let volume = installation.directory.join("instances").join(instance).join("volume");
        let name = if self.engine == "postgresql" { "postgres" } else { "mariadbd" };
        installation.until(Duration::from_secs(10), "the engine has a process", |_| {
            let pids = processes_in(&volume);
            // The main process is the one whose parent is not in the volume too.
            pids.iter().copied().find(|pid| {
                let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                comm.trim() == name && !pids.contains(&parent(*pid))
            })
        })
    }
}

/// Directories below `root` whose path carries the name, the deepest first.
pub fn directories_named(root: &Path, name: &str) -> Vec<String> {
    let found = Command::new("find").arg(root).args(["-depth", "-type", "d", "-path", &format!("*{name}*")]).output().expect("find runs");
    String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect()
}

/// Processes whose working directory is this one.
pub fn processes_in(directory: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == directory)).collect()
}

fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    after.split_whitespace().nth(1).and_then(|ppid| ppid.parse().ok()).unwrap_or(0)
}

/// Sends a signal to a process this test knows.
pub fn kill(pid: u32, signal: i32) {
    let status = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().expect("kill runs");
    assert!(status.success(), "kill -{signal} {pid}");
}

/// What is done to a cluster in this state, now and then: method and end of the path.
pub fn something_for(shown: &Value) -> Option<(&'static str, &'static str)> {
    match (shown["state"].as_str(), rand() % 4) {
        (Some("RUNNING"), 0) => Some(("POST", "/stop")),
        (Some("RUNNING"), 1) => Some(("POST", "/restart")),
        (Some("STOPPED"), 0 | 1) => Some(("POST", "/start")),
        (Some("RUNNING" | "STOPPED" | "FAILED"), 2) => Some(("DELETE", "")),
        _ => None,
    }
}

/// A pseudo-random number; which one does not matter.
pub fn rand() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// The middle of some durations.
pub fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

/// Logs in to a database with the stock client; what `SELECT 1` answers, or its complaint.
pub fn log_in(engine: &str, address: &str, port: u16, database: &str, user: &str, password: &str) -> Result<String, String> {
    let output = if engine == "mariadb" {
        let port = port.to_string();
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "-N", "-B", "--protocol=tcp", "--connect-timeout=5", "-h", address, "-P", &port]);
        command.args(["-u", user, "-D", database, "-e", "SELECT 1"]).env("MYSQL_PWD", password).output()
    } else {
        let target = format!("host={address} port={port} dbname={database} user={user} connect_timeout=5");
        Command::new("psql").args(["-XAtq", "-d", &target, "-c", "SELECT 1"]).env("PGPASSWORD", password).output()
    };
    let output = output.expect("the stock client runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
