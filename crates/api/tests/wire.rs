//! Golden transcripts of every family: `tests/wire/<family>/*.http` is the specification.

#[allow(dead_code)]
mod support;

use std::path::Path;

async fn family(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(name);
    let mut transcripts: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    transcripts.retain(|path| path.extension().is_some_and(|extension| extension == "http"));
    transcripts.sort();
    assert!(!transcripts.is_empty());
    for transcript in transcripts {
        support::transcript::play(&transcript).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_samsung_family_answers_as_its_transcripts_say() {
    family("scp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_native_family_answers_as_its_transcripts_say() {
    family("native").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_globo_family_answers_as_its_transcripts_say() {
    family("globo").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tsuru_is_answered_as_its_transcripts_say() {
    family("tsuru").await;
}
