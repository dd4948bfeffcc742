//! Our own program while it is measured.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The owner's password while measuring.
pub const PASSWORD: &str = "Bench!pass1";

/// A server with a data directory of its own; both go when it goes out of scope.
pub struct Installation {
    program: PathBuf,
    directory: PathBuf,
    server: Child,
    client: reqwest::blocking::Client,
    base_url: String,
    token: String,
    database_url: Option<String>,
}

fn spawn(program: &Path, directory: &Path, database_url: Option<&str>) -> Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("serve.log"))?;
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(directory);
    command.arg("--config").arg(directory.join("moorage.toml")).env_remove("MOORAGE_DATABASE_URL");
    if let Some(url) = database_url {
        command.env("MOORAGE_DATABASE_URL", url);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("starting the server")
}

/// A cluster that answered.
pub struct Cluster {
    /// Identifier.
    pub id: String,
    /// Address.
    pub address: String,
    /// Port.
    pub port: u64,
}

impl Drop for Installation {
    fn drop(&mut self) {
        let mut stop = Command::new(&self.program);
        stop.args(["stop", "--all", "--data-dir"]).arg(&self.directory).env_remove("MOORAGE_DATABASE_URL");
        if let Some(url) = &self.database_url {
            stop.env("MOORAGE_DATABASE_URL", url);
        }
        let stopped = stop.output();
        if !stopped.is_ok_and(|output| output.status.success()) {
            eprintln!("the measured installation in {} could not be stopped", self.directory.display());
        }
        drop(self.server.wait());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

impl Installation {
    /// Starts one with this many spare directories per engine and waits until they are there.
    pub fn start(program: &Path, under: &Path, spares: usize) -> Result<Self> {
        let mut this = Self::begin(program, under, &format!("[storage]\nspares = {spares}\n"), &spares.to_string(), None)?;
        this.until_spares_wait(spares)?;
        Ok(this)
    }

    /// Starts one without spare directories whose store is in this database.
    pub fn start_on(program: &Path, under: &Path, database_url: Option<&str>) -> Result<Self> {
        Self::begin(program, under, "[storage]\nspares = 0\n", "store", database_url)
    }

    /// Starts one without spare directories and with this configuration besides.
    pub fn start_configured(program: &Path, under: &Path, configuration: &str) -> Result<Self> {
        Self::begin(program, under, &format!("[storage]\nspares = 0\n{configuration}"), "configured", None)
    }

    fn begin(program: &Path, under: &Path, configuration: &str, name: &str, database_url: Option<&str>) -> Result<Self> {
        let directory = under.join(format!("moorage-bench-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("moorage.toml"), configuration)?;
        let database_url = database_url.map(str::to_owned);
        let server = spawn(program, &directory, database_url.as_deref())?;
        let _already_set = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::blocking::Client::new();
        let (base_url, token) = (String::new(), String::new());
        let mut this = Self { program: program.to_owned(), directory, server, client, base_url, token, database_url };
        this.until_ready()?;
        Ok(this)
    }

    fn until_ready(&mut self) -> Result<()> {
        self.until(Duration::from_secs(60), |this| {
            let bootstrap = this.bootstrap().ok()?;
            this.base_url = bootstrap["base_url"].as_str()?.to_owned();
            this.token = bootstrap["token"].as_str()?.to_owned();
            this.client.get(format!("{}/readyz", this.base_url)).send().ok().filter(|answer| answer.status().is_success()).map(drop)
        })
    }

    /// Ends the server; engines and gateway go on.
    pub fn stop_server(&mut self) -> Result<()> {
        Command::new("kill").arg(self.server.id().to_string()).status()?;
        self.server.wait()?;
        Ok(())
    }

    /// Starts the server again; how long until it was ready.
    pub fn start_server(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.server = spawn(&self.program, &self.directory, self.database_url.as_deref())?;
        self.until_ready()?;
        Ok(begun.elapsed())
    }

    /// The process id of the server.
    pub fn server_process(&self) -> u32 {
        self.server.id()
    }

    /// Address and credentials of the first administrator.
    pub fn bootstrap(&self) -> Result<Value> {
        Ok(serde_json::from_str(&std::fs::read_to_string(self.directory.join("bootstrap.json"))?)?)
    }

    /// Waits until the spares are back.
    pub fn until_spares_wait(&mut self, spares: usize) -> Result<()> {
        if spares == 0 {
            return Ok(());
        }
        self.until(Duration::from_secs(180), |this| {
            let keys: Vec<_> = std::fs::read_dir(this.directory.join("spares")).ok()?.flatten().collect();
            let full =
                keys.iter().filter(|key| std::fs::read_dir(key.path()).is_ok_and(|waiting| waiting.flatten().count() >= spares)).count();
            (full >= 2).then_some(())
        })
    }

    fn until<T>(&mut self, limit: Duration, mut ask: impl FnMut(&mut Self) -> Option<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return Ok(answer);
            }
            if begun.elapsed() > limit {
                bail!("the measured installation was not ready in time; its log is {}", self.directory.join("serve.log").display());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its data directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Asks for a cluster of the smallest type; returns its identifier.
    pub fn ask(&self, engine: &str, name: &str) -> Result<String> {
        self.ask_for(engine, name, "db1v1m1")
    }

    /// Asks for a cluster of this type; returns its identifier.
    pub fn ask_for(&self, engine: &str, name: &str, server_type: &str) -> Result<String> {
        let database = json!({"name": "bench", "owner": "keeper", "password": PASSWORD});
        self.order(&json!({"name": name, "engine": engine, "server_type": server_type, "database": database}))
    }

    /// Asks for a cluster of two instances of the smallest type; returns its identifier.
    pub fn ask_for_two(&self, engine: &str, name: &str) -> Result<String> {
        let database = json!({"name": "bench", "owner": "keeper", "password": PASSWORD});
        let body = json!({"name": name, "engine": engine, "server_type": "db1v1m1", "highly_available": true, "database": database});
        self.order(&body)
    }

    fn order(&self, body: &Value) -> Result<String> {
        let answer = self.client.post(format!("{}/moorage/v1/clusters", self.base_url)).bearer_auth(&self.token).json(body).send()?;
        let (status, accepted) = (answer.status(), answer.json::<Value>()?);
        accepted["cluster"]["id"].as_str().map(str::to_owned).with_context(|| format!("{status}: {accepted}"))
    }

    /// A request of any family; status and answer.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let mut request = self.client.request(method, format!("{}{path}", self.base_url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send()?;
        Ok((answer.status().as_u16(), answer.json().unwrap_or_default()))
    }

    /// Waits until a cluster is in a state.
    pub fn reaches(&mut self, id: &str, state: &str) -> Result<()> {
        self.until(Duration::from_secs(120), |this| {
            let shown = this.look(&format!("clusters/{id}")).ok()?;
            (shown["state"] == state).then_some(())
        })
    }

    /// What the API answers to a look at this path.
    pub fn look(&self, path: &str) -> Result<Value> {
        let answer = self.client.get(format!("{}/moorage/v1/{path}", self.base_url)).bearer_auth(&self.token).send()?;
        Ok(answer.json()?)
    }

    /// Asks that something is done to a cluster; returns the operation's identifier.
    pub fn act(&self, id: &str, verb: &str) -> Result<String> {
        let url = format!("{}/moorage/v1/clusters/{id}/{verb}", self.base_url);
        let answer = self.client.post(url).bearer_auth(&self.token).send()?;
        let (status, accepted) = (answer.status(), answer.json::<Value>()?);
        accepted["operation"]["id"].as_str().map(str::to_owned).with_context(|| format!("{status}: {accepted}"))
    }

    /// Waits until a cluster runs, asking every two milliseconds.
    pub fn running(&mut self, id: &str) -> Result<Cluster> {
        let url = format!("{}/moorage/v1/clusters/{id}", self.base_url);
        let begun = Instant::now();
        loop {
            let shown: Value = self.client.get(&url).bearer_auth(&self.token).send()?.json()?;
            match shown["state"].as_str() {
                Some("RUNNING") => {
                    let address = shown["address"].as_str().context("no address")?.to_owned();
                    return Ok(Cluster { id: id.to_owned(), address, port: shown["port"].as_u64().context("no port")? });
                }
                Some("CREATING") if begun.elapsed() < Duration::from_secs(120) => std::thread::sleep(Duration::from_millis(2)),
                _ => bail!("the cluster did not come: {shown}"),
            }
        }
    }

    /// The certificate that signs the endpoints' certificates, in PEM.
    pub fn authority(&self) -> Result<String> {
        let said = Command::new(&self.program).args(["ca", "--data-dir"]).arg(&self.directory).output()?;
        String::from_utf8(said.stdout).ok().filter(|pem| pem.contains("BEGIN")).context("asking for the certificate")
    }

    /// The Unix socket the gateway reaches a cluster's engine by.
    pub fn engine_socket(&self, id: &str) -> Result<PathBuf> {
        let file = self.directory.join("gateway/endpoints").join(format!("{id}.json"));
        let endpoint: Value = serde_json::from_str(&std::fs::read_to_string(&file).with_context(|| file.display().to_string())?)?;
        endpoint["primary"]["unix"].as_str().map(PathBuf::from).with_context(|| format!("no socket in {endpoint}"))
    }

    /// Removes a cluster and waits until it is gone.
    pub fn remove(&mut self, id: &str) -> Result<()> {
        let url = format!("{}/moorage/v1/clusters/{id}", self.base_url);
        self.client.delete(&url).bearer_auth(&self.token).send()?;
        self.until(Duration::from_secs(60), |this| {
            let status = this.client.get(&url).bearer_auth(&this.token).send().ok()?.status();
            (status.as_u16() == 404).then_some(())
        })
    }
}
