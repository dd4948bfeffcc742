//! A small load generator: a thread per connection, requests signed as they are sent, answers read to their end.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Lists are asked for with these: every order there is, and filters that find much and little.
const LISTS: &[&str] = &[
    "service_state=RUNNING&sort=name%3Aasc",
    "service_state=STOPPED&sort=created_at%3Adesc",
    "database_name=third&sort=name%3Adesc",
    "service_state=RUNNING&sort=created_at%3Aasc",
    "database_name=bench&sort=service_state%3Aasc",
    "service_state=RUNNING&database_name=third&sort=created_at%3Adesc",
];
/// Pages of a list that are asked for.
const PAGES: u64 = 10;
/// What stands before the path, and finds the clusters of one engine.
pub const SERVICES: [&str; 2] = ["/mariadb", "/postgresql"];

/// Signs requests as the vendor's clients do.
#[derive(Clone)]
pub struct Signer {
    host: String,
    access_key: String,
    key: Hmac<Sha256>,
}

/// How long answers took.
pub struct Answers {
    /// To Show Cluster.
    pub show: Vec<Duration>,
    /// To List Clusters.
    pub list: Vec<Duration>,
    /// All of it.
    pub took: Duration,
}

/// A cluster to ask for: its service's prefix and its identifier.
pub type Subject = (&'static str, String);

impl Signer {
    /// With the first access key of an installation.
    pub fn new(bootstrap: &Value) -> Result<Self> {
        let text = |name: &str| bootstrap[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        let host = text("base_url")?.trim_start_matches("http://").to_owned();
        Ok(Self { host, access_key: text("access_key")?, key: Hmac::new_from_slice(text("secret_key")?.as_bytes())? })
    }

    /// A signed GET.
    fn get(&self, target: &str) -> String {
        let milliseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let Self { host, access_key, .. } = self;
        let mut mac = self.key.clone();
        mac.update(format!("GEThttp://{host}{target}{milliseconds}{access_key}Openapi").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nScp-AccessKey: {access_key}\r\n\
             Scp-Signature: {signature}\r\nScp-Timestamp: {milliseconds}\r\nScp-ClientType: Openapi\r\n\r\n"
        )
    }
}

/// A connection that is kept alive.
struct Connection<'a> {
    signer: &'a Signer,
    socket: BufReader<TcpStream>,
    line: String,
    body: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn open(signer: &'a Signer) -> Result<Self> {
        let socket = TcpStream::connect(&signer.host)?;
        socket.set_nodelay(true)?;
        Ok(Self { signer, socket: BufReader::with_capacity(64 * 1024, socket), line: String::new(), body: Vec::new() })
    }

    /// Asks and reads the answer into `body`.
    fn ask(&mut self, target: &str) -> Result<()> {
        let request = self.signer.get(target);
        self.socket.get_mut().write_all(request.as_bytes())?;
        let mut length = None;
        let mut status = String::new();
        loop {
            self.line.clear();
            ensure!(self.socket.read_line(&mut self.line)? > 0, "the server closed the connection");
            let line = self.line.trim_end();
            if status.is_empty() {
                line.clone_into(&mut status);
            } else if line.is_empty() {
                break;
            } else if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        self.body.resize(length.context("an answer without a length")?, 0);
        self.socket.read_exact(&mut self.body)?;
        if !status.starts_with("HTTP/1.1 200") {
            bail!("{target}: {status}: {}", String::from_utf8_lossy(&self.body));
        }
        Ok(())
    }
}

/// The identifiers of all clusters, by pages.
pub fn cluster_ids(signer: &Signer) -> Result<Vec<Subject>> {
    let mut connection = Connection::open(signer)?;
    let mut ids = Vec::new();
    for service in SERVICES {
        for page in 0.. {
            connection.ask(&format!("{service}/v1/clusters?page={page}&size=500"))?;
            let answer: Value = serde_json::from_slice(&connection.body)?;
            let found = answer["contents"].as_array().context("a list without contents")?;
            if found.is_empty() {
                break;
            }
            ids.extend(found.iter().filter_map(|cluster| Some((service, cluster["id"].as_str()?.to_owned()))));
        }
    }
    Ok(ids)
}

/// Asks over so many connections for so long, and so often on each at most: of five requests four show a cluster and one lists.
pub fn load(signer: &Signer, subjects: &[Subject], connections: usize, for_long: Duration, most: usize) -> Result<Answers> {
    let begun = Instant::now();
    let answered = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..connections).map(|number| scope.spawn(move || one(signer, subjects, number as u64, begun + for_long, most))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?).collect::<Result<Vec<_>>>()
    })?;
    let mut all = Answers { show: Vec::new(), list: Vec::new(), took: begun.elapsed() };
    for (show, list) in answered {
        all.show.extend(show);
        all.list.extend(list);
    }
    Ok(all)
}

fn one(signer: &Signer, subjects: &[Subject], number: u64, end: Instant, most: usize) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let mut connection = Connection::open(signer)?;
    let mut random = Random(number + 1);
    let (mut show, mut list) = (Vec::new(), Vec::new());
    loop {
        let lists = random.below(5) == 0;
        let target = if lists {
            let service = SERVICES[random.below(SERVICES.len() as u64) as usize];
            let query = LISTS[random.below(LISTS.len() as u64) as usize];
            format!("{service}/v1/clusters?{query}&page={}&size=20", random.below(PAGES))
        } else {
            let (service, id) = &subjects[random.below(subjects.len() as u64) as usize];
            format!("{service}/v1/clusters/{id}")
        };
        let asked = Instant::now();
        if asked >= end || show.len() + list.len() >= most {
            return Ok((show, list));
        }
        connection.ask(&target)?;
        if lists { &mut list } else { &mut show }.push(asked.elapsed());
    }
}

/// A small generator of numbers that nobody has to be unable to guess.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
