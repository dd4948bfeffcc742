//! A host in a directory of its own, all of whose processes, groups and directories are gone when the test ends, however
//! it ends.
#![allow(dead_code, reason = "every test file uses a part of it")]

use moorage_domain::HostId;
use moorage_domain::instance::ProcessState;
use moorage_host::contract::Subject;
use moorage_host_local::{LocalHost, LocalHostOptions, stop_all};
use std::path::PathBuf;
use std::sync::Arc;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_moorage-host-local-testbin");

pub struct Bench {
    room: tempfile::TempDir,
    pub options: LocalHostOptions,
}

impl Bench {
    pub fn new() -> Self {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        let room = tempfile::Builder::new().prefix("moorage-host-").permissions(permissions).tempdir().expect("a directory");
        let mut random = [0u8; 4];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").expect("random"), &mut random).expect("random");
        let hex8 = format!("{:08x}", u32::from_ne_bytes(random));
        let mut options = LocalHostOptions::new(HostId::from_bits(1), hex8, room.path().join("data"));
        options.program = vec![String::from(PROGRAM)];
        options.run_dir = Some(room.path().join("run"));
        Self { room, options }
    }
    pub async fn host(&self) -> Arc<LocalHost> {
        LocalHost::start(self.options.clone()).await.expect("the host starts")
    }
    pub fn data(&self) -> PathBuf {
        self.room.path().join("data")
    }
    pub fn shim_of(&self, subject: &Subject) -> PathBuf {
        self.data().join("instances").join(subject.instance.as_str()).join("shim")
    }
    /// The pid of an instance's living shim, as it writes it down.
    pub fn shim_pid(&self, subject: &Subject) -> u32 {
        shim_pid(&self.shim_of(subject))
    }
    /// The version 2 control group of an instance, where there is one.
    pub fn group(&self, subject: &Subject) -> PathBuf {
        let text = std::fs::read_to_string(self.shim_of(subject).join("process.json")).expect("process.json");
        let process: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        PathBuf::from(process["groups"]["tracked"].as_str().unwrap_or("/no/group"))
    }
}

/// A Btrfs of its own, unmounted when the test ends.
pub struct SmallBtrfs(tempfile::TempDir);

impl SmallBtrfs {
    pub fn new() -> Self {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        let room = tempfile::Builder::new().prefix("moorage-btrfs-").permissions(permissions).tempdir().expect("a directory");
        let (image, at) = (room.path().join("disk"), room.path().join("mounted"));
        std::fs::File::create(&image).expect("made").set_len(40 << 30).expect("sized");
        std::fs::create_dir(&at).expect("made");
        for (program, arguments) in [("mkfs.btrfs", vec!["-q".as_ref(), image.as_path()]), ("mount", vec!["-oloop".as_ref(), &image, &at])]
        {
            let status = std::process::Command::new(program).args(arguments).stderr(std::process::Stdio::null()).status().expect("it runs");
            assert!(status.success(), "{program}");
        }
        Self(room)
    }
    pub fn path(&self) -> PathBuf {
        self.0.path().join("mounted")
    }
}
impl Drop for SmallBtrfs {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg(self.path()).status();
        assert!(status.is_ok_and(|status| status.success()) || std::thread::panicking(), "the file system is still used");
    }
}

/// Files behind loop devices and mounts that have this path in their names.
pub fn mounts_and_loops(path: &std::path::Path) -> Vec<String> {
    let text = path.display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("read");
    let devices = std::fs::read_dir("/sys/block").expect("listed").flatten();
    let files = devices.filter_map(|device| std::fs::read_to_string(device.path().join("loop/backing_file")).ok());
    mounts.lines().map(str::to_owned).chain(files).filter(|line| line.contains(&text)).collect()
}

pub fn shim_pid(directory: &std::path::Path) -> u32 {
    let text = std::fs::read_to_string(directory.join("status.json")).expect("status.json");
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    status["shim"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid")
}

impl Drop for Bench {
    fn drop(&mut self) {
        let options = self.options.clone();
        let stopped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(stop_all(options)).map(drop)
        });
        match stopped.join() {
            Ok(Ok(())) => {}
            other if std::thread::panicking() => eprintln!("cleaning up: {other:?}"),
            other => panic!("cleaning up: {other:?}"),
        }
    }
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

pub fn lives(pid: u32) -> bool {
    moorage_host_local::identity::Identity::of(pid).is_some_and(|identity| identity.lives())
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn pid_of(state: &ProcessState) -> u32 {
    match state {
        ProcessState::Running { pid, .. } => *pid,
        other => panic!("it does not run: {other:?}"),
    }
}
