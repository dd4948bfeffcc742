//! The host contract on this machine: as whoever runs the tests, and as an account without any privilege.

mod bench;

use bench::{Bench, PROGRAM, SmallBtrfs, is_root, kill, mounts_and_loops};
use moorage_host::Host;
use moorage_host::contract::{all_with_deaths, script_engine, small_template};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;

#[tokio::test]
async fn the_local_host_keeps_the_contract() {
    let bench = Bench::new();
    let host = bench.host().await;
    assert_eq!(host.abilities().tenants_isolated, is_root());
    all_with_deaths(&*host, small_template("small"), |place| script_engine(place, ""), kill).await;
    let inventory = host.inventory().await.expect("an inventory");
    assert!(inventory.instances.is_empty() && inventory.endpoints.is_empty() && inventory.terms.is_empty(), "{inventory:?}");
}

#[tokio::test]
async fn a_host_whose_volumes_are_images_keeps_the_contract() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench.options.volume_driver = Some(String::from("image"));
    let host = bench.host().await;
    assert!(host.abilities().volume_size_enforced);
    all_with_deaths(&*host, small_template("small"), |place| script_engine(place, ""), kill).await;
    let inventory = host.inventory().await.expect("an inventory");
    assert!(inventory.instances.is_empty(), "{inventory:?}");
    assert_eq!(mounts_and_loops(&bench.data()), [""; 0]);
}

#[tokio::test]
async fn a_host_whose_volumes_are_subvolumes_keeps_the_contract() {
    if !is_root() {
        return;
    }
    let disk = SmallBtrfs::new();
    let mut bench = Bench::new();
    bench.options.storage_path = Some(disk.path().join("volumes"));
    let host = bench.host().await;
    let abilities = host.abilities();
    assert_eq!((abilities.volume_driver.as_str(), abilities.volume_size_enforced), ("btrfs", true), "chosen by itself");
    all_with_deaths(&*host, small_template("small"), |place| script_engine(place, ""), kill).await;
    let inventory = host.inventory().await.expect("an inventory");
    assert!(inventory.instances.is_empty(), "{inventory:?}");
}

/// Root has to give privileges up for this one; anybody else is covered by the test above.
#[test]
fn the_local_host_keeps_the_contract_without_any_privilege() {
    if !is_root() {
        return;
    }
    let room = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir().expect("a directory");
    let (program, data) = (room.path().join("program"), room.path().join("data"));
    std::fs::copy(PROGRAM, &program).expect("copied");
    std::fs::create_dir(&data).expect("made");
    chown(&data, Some(65_534), Some(65_534)).expect("given");
    let output = std::process::Command::new(&program)
        .args(["contract".as_ref(), program.as_os_str(), data.as_os_str()])
        .env_clear()
        .uid(65_534)
        .gid(65_534)
        .current_dir("/")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
