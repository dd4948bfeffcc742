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
        let stopped = Command::new(&self.program).args(["stop", "--all", "--data-dir"]).arg(&self.directory).output();
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
        let directory = under.join(format!("moorage-bench-{}-{spares}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let configuration = directory.join("moorage.toml");
        std::fs::write(&configuration, format!("[storage]\nspares = {spares}\n"))?;
        let log = std::fs::File::create(directory.join("serve.log"))?;
        let server = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&directory)
            .arg("--config")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting the server")?;
        let _already_set = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::blocking::Client::new();
        let mut this = Self { program: program.to_owned(), directory, server, client, base_url: String::new(), token: String::new() };
        this.until(Duration::from_secs(60), |this| {
            let text = std::fs::read_to_string(this.directory.join("bootstrap.json")).ok()?;
            let bootstrap: Value = serde_json::from_str(&text).ok()?;
            this.base_url = bootstrap["base_url"].as_str()?.to_owned();
            this.token = bootstrap["token"].as_str()?.to_owned();
            this.client.get(format!("{}/readyz", this.base_url)).send().ok().filter(|answer| answer.status().is_success()).map(drop)
        })?;
        this.until_spares_wait(spares)?;
        Ok(this)
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

    /// Asks for a cluster; returns its identifier.
    pub fn ask(&self, engine: &str, name: &str) -> Result<String> {
        let body = json!({"name": name, "engine": engine, "database": {"name": "bench", "owner": "keeper", "password": PASSWORD}});
        let answer = self.client.post(format!("{}/moorage/v1/clusters", self.base_url)).bearer_auth(&self.token).json(&body).send()?;
        let (status, accepted) = (answer.status(), answer.json::<Value>()?);
        accepted["cluster"]["id"].as_str().map(str::to_owned).with_context(|| format!("{status}: {accepted}"))
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
