//! A store whose disk is full says so, and works again as soon as there is room.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use moorage_domain::{ProjectId, Timestamp};
use moorage_store::{Store, StoreError};
use std::path::PathBuf;
use std::process::Command;

struct SmallDisk(tempfile::TempDir);
impl SmallDisk {
    fn mount() -> Option<Self> {
        let room = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(room.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(room))
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[tokio::test]
async fn a_store_works_again_as_soon_as_there_is_room() {
    // Only root mounts one.
    let Some(disk) = SmallDisk::mount() else { return };
    let store = Store::open(&disk.file("store.db")).await.expect("opened");
    let insert = async |number: u128| {
        let mut uow = store.begin().await?;
        uow.insert_project(&ProjectId::from_bits(number), &format!("{number:0200}"), Timestamp(0)).await?;
        uow.commit().await
    };
    insert(1).await.expect("there is room");
    drop(Command::new("dd").args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", disk.file("ballast").display())).output());
    let mut number = 1;
    let error = loop {
        number += 1;
        if let Err(error) = insert(number).await {
            break error;
        }
        assert!(number < 100_000, "it never fills up");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    for _ in 0..3 {
        assert!(matches!(insert(number).await, Err(StoreError::Full { .. })), "and says so every time");
    }
    std::fs::remove_file(disk.file("ballast")).expect("removed");
    insert(number).await.expect("there is room again");
    store.close().await;
}
