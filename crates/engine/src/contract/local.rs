//! A bench on this machine: runs job steps and one process in a temporary directory, with nothing but the standard library.
//! As root everything runs as the unprivileged account `nobody`, as engines refuse to run as root.

use super::Runner;
use async_trait::async_trait;
use moorage_domain::InstanceId;
use moorage_domain::engine::Installation;
use moorage_domain::layout::{JobStep, Place, ProcessLayout, StopPlan, TemplateSpec};
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const NOBODY: u32 = 65_534;

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// The bench. Dropping it kills the process and removes the directory.
pub struct Bench {
    root: PathBuf,
    installation: Installation,
    administrator: String,
    unprivileged: Option<u32>,
    running: Option<(Child, StopPlan)>,
    log: PathBuf,
    instance: InstanceId,
    replication: Ipv4Addr,
    /// Whatever `Bench` cannot know: the client programs that belong to the version.
    pub clients: PathBuf,
}

impl Bench {
    /// A bench in a directory of its own below `parent`, for one version. `clients` is where its client programs are.
    pub fn new(parent: &Path, installation: Installation, clients: PathBuf) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let [.., second, third] = (std::process::id().wrapping_mul(8).wrapping_add(number)).to_be_bytes();
        let administrator = output(Command::new("id").arg("-un"));
        let is_root = fs::metadata("/proc/self").expect("proc is mounted").uid() == 0;
        let bench = Self {
            root: parent.to_path_buf(),
            installation,
            administrator,
            unprivileged: is_root.then_some(NOBODY),
            running: None,
            log: PathBuf::new(),
            instance: InstanceId::from_bits(u128::from(std::process::id()) << 32 | u128::from(number)),
            replication: Ipv4Addr::new(127, 200, second, third),
            clients,
        };
        fs::set_permissions(&bench.root, fs::Permissions::from_mode(0o755)).expect("the directory is ours");
        bench
    }

    /// The environment in which the programs of the version run.
    pub fn command(&self, program: impl AsRef<Path>, environment: &[(String, String)]) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value))).process_group(0);
        if let Some(uid) = self.unprivileged {
            command.uid(uid).gid(uid);
        }
        command
    }

    /// Whether what runs on the bench has an account of its own, other than the administrator's.
    pub fn separates_accounts(&self) -> bool {
        self.unprivileged.is_some()
    }

    /// The process id of the main process.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("something runs").0.id()
    }

    /// Whether the process has ended by itself.
    pub fn ended(&mut self) -> bool {
        self.wait(Duration::ZERO)
    }

    fn directory(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(&path).expect("a directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        if let Some(uid) = self.unprivileged {
            chown(&path, Some(uid), Some(uid)).expect("its owner");
        }
        path
    }

    fn step(&self, step: &JobStep, volume: &Path, scratch: &Path) {
        let fill = |text: &str| text.replace("{volume}", &volume.to_string_lossy()).replace("{scratch}", &scratch.to_string_lossy());
        match step {
            JobStep::Run { argv, environment, stdin, limit } => {
                let argv: Vec<String> = argv.iter().map(|argument| fill(argument)).collect();
                let environment: Vec<(String, String)> = environment.iter().map(|(name, value)| (name.clone(), fill(value))).collect();
                let mut command = self.command(&argv[0], &environment);
                command.args(&argv[1..]).current_dir(scratch).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let began = Instant::now();
                let mut child = command.spawn().unwrap_or_else(|error| panic!("{} starts: {error}", argv[0]));
                // Nothing larger than a pipe holds is ever handed in, so this cannot block.
                child.stdin.take().expect("piped").write_all(fill(stdin).as_bytes()).expect("its input");
                let ended = child.wait_with_output().expect("its end");
                let words = || format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
                assert!(ended.status.success(), "{argv:?} ended with {}:\n{}", ended.status, words());
                assert!(began.elapsed() < *limit, "{argv:?} took longer than it may");
            }
            JobStep::Write { path, contents } => {
                let path = fill(path);
                fs::write(&path, fill(contents)).expect("a file");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
                if let Some(uid) = self.unprivileged {
                    chown(&path, Some(uid), Some(uid)).expect("its owner");
                }
            }
            JobStep::Randomise { path, offset, length } => {
                use std::os::unix::fs::FileExt as _;
                let mut random = vec![0_u8; *length as usize];
                std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").expect("random bytes"), &mut random).expect("bytes");
                let file = fs::File::options().write(true).open(fill(path)).expect("an existing file");
                file.write_all_at(&random, *offset).expect("to overwrite it");
            }
        }
    }

    /// Ends the process and its children at once; children may have sessions of their own, so the group is not enough.
    fn kill(&mut self) -> bool {
        if self.running.is_none() {
            return true;
        }
        let main = self.pid();
        let children = children(main);
        signal(9, main);
        let ended = self.wait(Duration::from_secs(10));
        children.iter().for_each(|child| signal(9, *child));
        let began = Instant::now();
        while children.iter().any(|child| is_alive(*child)) && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(2));
        }
        ended && !children.iter().any(|child| is_alive(*child))
    }

    fn wait(&mut self, limit: Duration) -> bool {
        let Some((child, _)) = &mut self.running else { return true };
        let began = Instant::now();
        loop {
            if child.try_wait().expect("our own child").is_some() {
                self.running = None;
                return true;
            }
            if began.elapsed() >= limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.kill();
    }
}

#[async_trait]
impl Runner for Bench {
    fn installation(&self) -> Installation {
        self.installation.clone()
    }
    fn administrator(&self) -> String {
        self.administrator.clone()
    }
    fn instance(&self) -> InstanceId {
        self.instance.clone()
    }
    async fn work(&mut self, steps: &[JobStep]) {
        assert!(self.running.is_none(), "an engine runs");
        let (volume, scratch) = (self.directory("volume", 0o700), self.directory("scratch-work", 0o700));
        steps.iter().for_each(|step| self.step(step, &volume, &scratch));
    }
    async fn place(&mut self, template: &TemplateSpec) -> Place {
        let volume = self.directory("volume", 0o700);
        for (name, steps) in [("make", &template.make), ("personalise", &template.personalise)] {
            let scratch = self.directory(&format!("scratch-{name}"), 0o700);
            for step in steps {
                self.step(step, &volume, &scratch);
            }
        }
        let [config, run, logs] = ["config", "run", "logs"].map(|name| self.directory(name, 0o755));
        Place { volume, config, run, logs, replication: self.replication }
    }
    async fn start(&mut self, layout: &ProcessLayout) {
        assert!(self.running.is_none(), "one process at a time");
        let config = self.root.join("config");
        for file in &layout.files {
            fs::write(config.join(&file.name), &file.contents).expect("a configuration file");
        }
        for mark in &layout.marks {
            fs::write(mark, "").expect("a mark");
            if let Some(uid) = self.unprivileged {
                chown(mark, Some(uid), Some(uid)).expect("its owner");
            }
        }
        for stale in &layout.stale {
            let _ = fs::remove_file(stale);
        }
        self.log = layout.log.clone();
        let log = fs::File::options().append(true).create(true).open(&layout.log).expect("a log file");
        let mut command = self.command(&layout.argv[0], &layout.environment);
        command.args(&layout.argv[1..]).current_dir(&layout.working_directory).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.running = Some((command.spawn().expect("the engine's program starts"), layout.stop));
    }
    async fn stop(&mut self) -> bool {
        let Some((_, plan)) = &self.running else { return true };
        let plan = *plan;
        signal(plan.signal, self.pid());
        self.wait(plan.grace)
    }
    async fn crash(&mut self) {
        assert!(self.kill(), "nothing survives signal 9");
    }
    async fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
    async fn log(&mut self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn output(command: &mut Command) -> String {
    let ended = command.output().expect("a standard program");
    String::from(String::from_utf8_lossy(&ended.stdout).trim())
}

fn signal(signal: i32, pid: u32) {
    // A process that is gone already is fine.
    let _ = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).stderr(Stdio::null()).status();
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

fn children(of: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("proc is mounted").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|(_, parent)| parent == of)).collect()
}
