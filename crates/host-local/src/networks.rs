//! A network per cluster of several instances: nobody else is on it, and it leads nowhere. It lives as a mount of the kernel's
//! namespace, so that it stays while no process of the cluster runs.

use crate::files::ensure_directory;
use crate::machine::Machine;
use crate::mounts;
use moorage_domain::ClusterId;
use rtnetlink::LinkUnspec;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Says of a file system that it is a kernel namespace.
const NSFS: u64 = 0x6e73_6673;
const LOOPBACK: u32 = 1;

/// Two instances of a cluster are started at once, and must meet on one network.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn directory(machine: &Machine) -> PathBuf {
    machine.run.join("networks")
}

fn is_namespace(path: &Path) -> io::Result<bool> {
    match rustix::fs::statfs(path) {
        Ok(found) => Ok(found.f_type as u64 == NSFS),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes sure a cluster's network is there; where.
pub(crate) fn ensure(machine: &Machine, cluster: &ClusterId) -> io::Result<PathBuf> {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let path = directory(machine).join(cluster.as_str());
    if is_namespace(&path)? {
        return Ok(path);
    }
    ensure_directory(&directory(machine), 0o700, None)?;
    std::fs::File::create(&path)?;
    let at = path.clone();
    // A namespace belongs to a thread: this one enters a new one and ends.
    let made = std::thread::spawn(move || {
        #[expect(deprecated, reason = "the call is deprecated for a hazard of sharing descriptor tables; this flag does not touch them")]
        rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET)?;
        begin_loopback()?;
        Ok(rustix::mount::mount_bind("/proc/thread-self/ns/net", &at)?)
    });
    made.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes a network panicked")))?;
    Ok(path)
}

/// Lets the new network's addresses be reached from inside.
fn begin_loopback() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let conversation = tokio::spawn(connection);
        let begun = handle.link().set(LinkUnspec::new_with_index(LOOPBACK).up().build()).execute().await;
        conversation.abort();
        begun.map_err(io::Error::other)
    })
}

/// Removes a cluster's network.
pub(crate) fn remove(machine: &Machine, cluster: &ClusterId) -> io::Result<()> {
    let path = directory(machine).join(cluster.as_str());
    if path.exists() {
        mounts::unmount_below(&path)?;
        crate::files::remove(&path)?;
    }
    Ok(())
}

/// Takes all of them away.
pub(crate) fn remove_all(machine: &Machine) -> io::Result<()> {
    mounts::unmount_below(&directory(machine))
}
