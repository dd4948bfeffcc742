use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// What every driver must do with a volume, from an empty one to the last trace.
fn keeps_the_contract(driver: &dyn Driver, room: &Path) {
    let under = |name: &str| room.join(name);
    driver.create(&under("made")).expect("made");
    assert_eq!(files::names(&under("made")).expect("listed"), [""; 0], "an empty directory");
    std::fs::create_dir_all(under("made/base/1")).expect("made");
    std::fs::write(under("made/base/1/file"), "x".repeat(100_000)).expect("written");
    std::fs::set_permissions(under("made/base/1/file"), std::fs::Permissions::from_mode(0o640)).expect("mode");
    std::os::unix::fs::symlink("base/1", under("made/link")).expect("linked");
    driver.rest(&under("made"), &under("template")).expect("at rest");
    assert!(!under("made").exists() && under("template").exists());
    driver.copy(&under("template"), &under("copied")).expect("copied");
    assert_eq!(std::fs::read(under("copied/link/file")).expect("read").len(), 100_000);
    assert_eq!(std::fs::metadata(under("copied/base/1/file")).expect("there").mode() & 0o7777, 0o640);
    assert!(driver.copy(&under("template"), &under("copied")).is_err(), "never into something that is there");
    driver.rest(&under("copied"), &under("spare")).expect("at rest");
    assert!(!driver.has(&under("volume")));
    driver.take(&under("spare"), &under("volume"), 2).expect("taken");
    let again = driver.take(&under("spare"), &under("another"), 2).expect_err("it is gone");
    assert_eq!(again.kind(), io::ErrorKind::NotFound);
    assert!(driver.has(&under("volume")) && !driver.has(&under("another")));
    for _ in 0..2 {
        driver.open(&under("volume"), 2).expect("opened");
    }
    assert_eq!(std::fs::read(under("volume/link/file")).expect("read").len(), 100_000);
    match driver.room(&under("volume"), 2).expect("measured") {
        Some((size, free)) => {
            assert!(driver.enforces_size());
            assert!((1_900 << 20..=2_048 << 20).contains(&size) && free < size.cast_signed() && free > 1_500 << 20, "{size} {free}");
            fills_up(driver, &under("volume"));
        }
        None => assert!(!driver.enforces_size()),
    }
    for name in ["volume", "template", "never-there"] {
        remove(&under(name)).expect("removed");
    }
    assert_eq!(files::names(room).expect("listed"), [""; 0], "nothing is left");
    assert_eq!(mounts::below(room).expect("read"), []);
    assert!(!mounts::loop_files().iter().any(|file| file.starts_with(room)));
}

/// More than the ceiling does not fit; after a delete there is room again.
fn fills_up(driver: &dyn Driver, volume: &Path) {
    let reserve = |name: &str, megabytes: u64| -> io::Result<()> {
        let file = std::fs::File::create(volume.join(name))?;
        Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, megabytes << 20)?)
    };
    reserve("large", 1_500).expect("there is room");
    let full =
        reserve("too-much", 1_000).and_then(|()| std::fs::write(volume.join("x"), vec![1; 1 << 20])).expect_err("beyond the ceiling");
    assert!(matches!(full.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded), "{full}");
    files::remove(&volume.join("large")).expect("removed");
    files::remove(&volume.join("too-much")).expect("removed");
    files::sync_file_system(volume).expect("on disk");
    std::fs::write(volume.join("x"), vec![1; 1 << 20]).expect("there is room again");
    let (_, free) = driver.room(volume, 2).expect("measured").expect("a ceiling");
    assert!(free > 1_500 << 20, "{free}");
    gives_a_reserve(driver, volume);
}

/// A full volume has a little more for whoever cleans up.
fn gives_a_reserve(driver: &dyn Driver, volume: &Path) {
    let write = |name: &str, megabytes: usize| -> io::Result<()> {
        std::fs::write(volume.join(name), vec![1; megabytes << 20])?;
        files::sync_file_system(volume)
    };
    let file = std::fs::File::create(volume.join("large")).expect("made");
    let (_, free) = driver.room(volume, 2).expect("measured").expect("a ceiling");
    // All but a few megabytes.
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, free.cast_unsigned() - (8 << 20)).expect("there is room");
    assert!(write("y", 16).is_err(), "it is full");
    driver.set_reserve(volume, 2, 1 << 30).expect("given");
    let before = driver.room(volume, 2).expect("measured").expect("a ceiling").1;
    assert!(before < 16 << 20, "what is left does not count it: {before}");
    write("y", 16).expect("written into the reserve");
    files::remove(&volume.join("y")).expect("removed");
    files::remove(&volume.join("large")).expect("removed");
    files::sync_file_system(volume).expect("on disk");
    driver.set_reserve(volume, 2, 0).expect("taken back");
}

fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A Btrfs of its own in a file, unmounted when the test ends.
struct SmallBtrfs(tempfile::TempDir);
impl SmallBtrfs {
    fn new() -> Self {
        let room = tempfile::tempdir().expect("a directory");
        let (image, at) = (room.path().join("disk"), room.path().join("mounted"));
        std::fs::File::create(&image).expect("made").set_len(8 << 30).expect("sized");
        std::fs::create_dir(&at).expect("made");
        programs::run("mkfs.btrfs", ["-q".as_ref(), image.as_os_str()]).expect("formatted");
        programs::run("mount", ["-o".as_ref(), "loop".as_ref(), image.as_os_str(), at.as_os_str()]).expect("mounted");
        Self(room)
    }
    fn path(&self) -> PathBuf {
        self.0.path().join("mounted")
    }
}
impl Drop for SmallBtrfs {
    fn drop(&mut self) {
        mounts::unmount_below(self.0.path()).expect("unmounted");
    }
}

#[test]
fn a_directory_keeps_the_contract() {
    let room = tempfile::tempdir().expect("a directory");
    keeps_the_contract(&plain::Directory, room.path());
}

#[test]
fn an_image_keeps_the_contract() {
    if !as_root() {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    keeps_the_contract(&*find(Some("image"), None, room.path()).expect("a driver"), room.path());
}

#[test]
fn an_image_that_was_growing_when_everything_died_is_removed_and_another_one_taken() {
    if !as_root() {
        return;
    }
    let room = tempfile::tempdir().expect("a directory");
    let (spare, volume) = (room.path().join("spare"), room.path().join("volume"));
    image::Image.create(&room.path().join("made")).expect("made");
    image::Image.rest(&room.path().join("made"), &spare).expect("at rest");
    std::fs::write(unfinished_image_of(&volume), "half of one").expect("written");
    assert!(!image::Image.has(&volume));
    image::Image.take(&spare, &volume, 3).expect("taken");
    image::Image.open(&volume, 3).expect("opened");
    let (size, _) = image::Image.room(&volume, 3).expect("measured").expect("a ceiling");
    assert!(size > 2_900 << 20, "{size}");
    remove(&volume).expect("removed");
    assert_eq!(files::names(room.path()).expect("listed"), [""; 0]);
}

#[test]
fn a_file_system_that_shares_blocks_and_has_quotas_keeps_the_contract_in_every_way() {
    if !as_root() {
        return;
    }
    let disk = SmallBtrfs::new();
    let driver = find(None, None, &disk.path()).expect("a driver");
    assert_eq!(driver.name(), "btrfs", "chosen by itself");
    for name in ["directory", "reflink", "btrfs", "image"] {
        let driver = find(Some(name), None, &disk.path()).expect("a driver");
        assert_eq!(driver.name(), name);
        let room = disk.path().join(name);
        std::fs::create_dir(&room).expect("made");
        keeps_the_contract(&*driver, &room);
    }
}

#[test]
fn a_snapshot_of_a_subvolume_has_what_was_there_at_one_moment() {
    if !as_root() {
        return;
    }
    let disk = SmallBtrfs::new();
    let driver = find(Some("btrfs"), None, &disk.path()).expect("a driver");
    let (volume, copy) = (disk.path().join("volume"), disk.path().join("copy"));
    driver.create(&volume).expect("made");
    // Two files that are always written in the same order: whoever sees the second sees the first as well.
    let writing = std::thread::spawn({
        let volume = volume.clone();
        move || {
            (0..2_000).try_for_each(|n| {
                std::fs::write(volume.join("a"), format!("{n:05}")).and_then(|()| std::fs::write(volume.join("b"), format!("{n:05}")))
            })
        }
    });
    let read = |name: &str| std::fs::read_to_string(copy.join(name)).ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    while !writing.is_finished() {
        driver.copy(&volume, &copy).expect("copied");
        let (a, b) = (read("a"), read("b"));
        // One of them may just be empty between truncation and write.
        assert!(a == 0 || b == 0 || a == b || a == b + 1, "{a} {b}");
        remove(&copy).expect("removed");
    }
    writing.join().expect("ended").expect("written");
}

#[test]
fn an_unknown_driver_is_refused_with_the_known_ones() {
    let error = find(Some("zfs"), None, Path::new("/tmp")).err().expect("refused");
    assert_eq!(error.problem.code, ProblemCode::ConfigInvalid);
    assert!(error.problem.hint.expect("a hint").contains("image"));
}

#[test]
fn btrfs_is_refused_where_there_is_none() {
    let room = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let error = find(Some("btrfs"), None, room.path()).err().expect("refused");
    assert!(error.problem.message.contains("btrfs"), "{}", error.problem);
}
