//! What becomes of engines when they, their shims, their host or the whole machine die.

mod bench;

use bench::{Bench, is_root, kill, lives, pid_of};
use moorage_domain::instance::{ProcessExit, ProcessState};
use moorage_host::contract::{Subject, running, script_engine, small_template, until};
use moorage_host::{Host, ProcessWish, StopState};
use moorage_host_local::{LocalHost, stop_all};
use std::path::Path;
use std::time::{Duration, Instant};

async fn started(host: &LocalHost, before: &str) -> (Subject, ProcessWish) {
    let subject = Subject::new(host).with_volume(host, &small_template("small")).await;
    let wish = subject.process(script_engine(&host.place(&subject.instance), before), 1);
    host.ensure_process(&wish).await.expect("it starts");
    (subject, wish)
}

/// The same, and it has come so far that it does its work.
async fn up(host: &LocalHost, before: &str) -> (Subject, ProcessWish) {
    let (subject, wish) = started(host, before).await;
    let written = host.place(&subject.instance).volume.join("written");
    until("it is up", async || written.exists()).await;
    (subject, wish)
}

async fn given_up(host: &LocalHost, subject: &Subject) -> ProcessExit {
    let mut found = None;
    until("the shim gives up", async || match host.process(&subject.instance).await {
        Ok(ProcessState::GaveUp { last }) => {
            found = Some(last);
            true
        }
        _ => false,
    })
    .await;
    found.expect("an exit")
}

async fn next_incarnation(host: &LocalHost, subject: &Subject, after: u32) -> ProcessState {
    let mut found = ProcessState::Absent;
    until("the next incarnation runs", async || {
        found = host.process(&subject.instance).await.expect("a state");
        matches!(found, ProcessState::Running { incarnation, .. } if incarnation > after)
    })
    .await;
    found
}

fn shims_differ(bench: &Bench, subject: &Subject, before: u32) -> bool {
    let now = bench.shim_pid(subject);
    now != before && lives(now)
}

#[tokio::test]
async fn a_killed_shim_is_replaced_at_once_and_its_engine_goes_on() {
    let bench = Bench::new();
    let host = bench.host().await;
    let (subject, _) = up(&host, "").await;
    let engine = running(&*host, &subject.instance).await;
    let mut gaps = Vec::new();
    for _ in 0..3 {
        let shim = bench.shim_pid(&subject);
        let began = Instant::now();
        kill(shim);
        until("another shim is there", async || shims_differ(&bench, &subject, shim)).await;
        gaps.push(began.elapsed());
        assert_eq!(running(&*host, &subject.instance).await, engine, "the engine was not touched");
    }
    assert!(gaps.iter().any(|gap| *gap < Duration::from_millis(500)), "{gaps:?}");
    // What an adopting shim keeps is kept as well as before.
    kill(engine.0);
    let state = next_incarnation(&host, &subject, engine.1).await;
    assert!(matches!(state, ProcessState::Running { last_exit: Some(_), .. }), "{state:?}");
    let next = running(&*host, &subject.instance).await;
    kill(bench.shim_pid(&subject));
    assert_eq!(host.ensure_stopped(&subject.instance, &subject.cluster, 1).await.expect("stopped"), StopState::Stopped);
    assert!(!lives(next.0));
}

#[tokio::test]
async fn a_new_host_adopts_what_runs_and_what_lost_its_shim() {
    let bench = Bench::new();
    let host = bench.host().await;
    let (subject, wish) = up(&host, "").await;
    let engine = running(&*host, &subject.instance).await;
    drop(host);
    let host = bench.host().await;
    assert_eq!(running(&*host, &subject.instance).await, engine);
    drop(host);
    let shim = bench.shim_pid(&subject);
    kill(shim);
    until("the shim is dead", async || !lives(shim)).await;
    let host = bench.host().await;
    until("another shim is there", async || shims_differ(&bench, &subject, shim)).await;
    host.ensure_process(&wish).await.expect("adopted");
    assert_eq!(running(&*host, &subject.instance).await, engine);
}

#[tokio::test]
async fn children_of_a_dead_engine_are_gone_before_the_next_incarnation_starts() {
    let bench = Bench::new();
    let host = bench.host().await;
    let (subject, _) = started(&host, "echo start >> written").await;
    let written = host.place(&subject.instance).volume.join("written");
    let writes = || std::fs::read_to_string(&written).unwrap_or_default();
    // Only what this incarnation wrote counts: an empty text does not end with "start" either.
    let writes_in = async |run: usize| {
        until("the child writes", async || {
            let text = writes();
            text.matches("start").count() == run && !text.trim_end().ends_with("start")
        })
        .await;
    };
    for run in 1..=3 {
        let (pid, incarnation) = running(&*host, &subject.instance).await;
        writes_in(run).await;
        kill(pid);
        next_incarnation(&host, &subject, incarnation).await;
    }
    writes_in(4).await;
    let text = writes();
    for run in text.split("start\n").skip(1) {
        let mut writers: Vec<&str> = run.lines().collect();
        writers.dedup();
        assert_eq!(writers.len(), 1, "a child of an earlier incarnation went on writing: {text}");
    }
}

#[tokio::test]
async fn a_crash_loop_ends_visibly_with_the_engines_own_words() {
    let bench = Bench::new();
    let host = bench.host().await;
    let (subject, wish) = started(&host, "echo 'unknown variable fnord' >&2; exit 3").await;
    let last = given_up(&host, &subject).await;
    assert_eq!((last.code, last.signal), (Some(3), None));
    assert_eq!(last.last_words, "unknown variable fnord", "only those of the last run");
    let log = host.log_tail(&subject.instance, 1_000).await.expect("a log");
    assert_eq!(log.lines().count(), 7, "six restarts: {log}");
    // A changed layout is a new wish, the same one is not.
    assert!(matches!(host.ensure_process(&wish).await.expect("asked"), ProcessState::GaveUp { .. }));
    let mended = subject.process(script_engine(&host.place(&subject.instance), ""), 1);
    host.ensure_process(&mended).await.expect("asked");
    running(&*host, &subject.instance).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let bench = Bench::new();
    let host = bench.host().await;
    let (subject, wish) = started(&host, "").await;
    host.fence(&subject.instance, &subject.cluster, 1).await.expect("fenced");
    let mut missing = ProcessWish { restart: false, ..wish };
    missing.layout.argv = vec![String::from("/opt/nothing/mariadbd")];
    host.ensure_process(&missing).await.expect("asked");
    let last = given_up(&host, &subject).await;
    assert!(last.last_words.contains("cannot run /opt/nothing/mariadbd: No such file"), "{last:?}");
}

#[tokio::test]
async fn after_a_reboot_what_is_wanted_comes_back() {
    let bench = Bench::new();
    let host = bench.host().await;
    let (subject, wish) = up(&host, "").await;
    let (_, incarnation) = running(&*host, &subject.instance).await;
    let volume = host.place(&subject.instance).volume;
    let identity = std::fs::read(volume.join("identity")).expect("read");
    drop(host);
    for pid in [bench.shim_pid(&subject), incarnation_pid(&bench, &subject)] {
        kill(pid);
    }
    // The kernel's part of a reboot, done by hand: nothing runs, no group, no socket directory, another boot.
    let group = bench.group(&subject);
    if group.is_dir() {
        std::fs::write(group.join("cgroup.kill"), "1").expect("killed");
        until("the group is gone", async || std::fs::remove_dir(&group).is_ok()).await;
    }
    std::fs::remove_dir_all(bench.options.run_dir.as_ref().expect("a directory")).expect("removed");
    let wanted = bench.shim_of(&subject).join("wanted.json");
    let own_boot = moorage_host_local::identity::boot();
    let text = std::fs::read_to_string(&wanted).expect("a wish");
    std::fs::write(&wanted, text.replace(&own_boot, &"0".repeat(own_boot.len()))).expect("written");

    let host = bench.host().await;
    assert_eq!(host.process(&subject.instance).await.expect("a state"), ProcessState::Absent);
    host.ensure_process(&wish).await.expect("it starts");
    assert!(running(&*host, &subject.instance).await.1 > incarnation);
    assert!(host.place(&subject.instance).run.is_dir());
    assert_eq!(std::fs::read(volume.join("identity")).expect("read"), identity);
}

fn incarnation_pid(bench: &Bench, subject: &Subject) -> u32 {
    let text = std::fs::read_to_string(bench.shim_of(subject).join("main.json")).expect("main.json");
    let main: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    u32::try_from(main["identity"]["pid"].as_u64().expect("a pid")).expect("a pid")
}

#[tokio::test]
async fn a_frozen_engine_is_killed_as_hung_or_fenced_all_the_same() {
    let bench = Bench::new();
    let host = bench.host().await;
    if !host.abilities().groups_tracked {
        return;
    }
    let (subject, _) = started(&host, "").await;
    let (_, incarnation) = running(&*host, &subject.instance).await;
    let freeze = bench.group(&subject).join("cgroup.freeze");
    std::fs::write(&freeze, "1").expect("frozen");
    host.kill_hung(&subject.instance, "it did not answer for 30 seconds").await.expect("killed");
    // The next one does not stand still like the one before.
    match next_incarnation(&host, &subject, incarnation).await {
        ProcessState::Running { last_exit: Some(exit), .. } => {
            assert!(exit.last_words.contains("did not answer"), "{exit:?}");
            assert_eq!(exit.signal, Some(9));
        }
        other => panic!("{other:?}"),
    }
    std::fs::write(&freeze, "1").expect("frozen");
    host.fence(&subject.instance, &subject.cluster, 2).await.expect("fenced");
    let events = std::fs::read_to_string(bench.group(&subject).join("cgroup.events")).expect("events");
    assert!(events.contains("populated 0"), "{events}");
}

#[tokio::test]
async fn an_engine_that_does_not_stop_in_time_is_killed() {
    let bench = Bench::new();
    let host = bench.host().await;
    let subject = Subject::new(&*host).with_volume(&*host, &small_template("small")).await;
    let mut wish = subject.process(script_engine(&host.place(&subject.instance), "trap '' TERM"), 1);
    wish.layout.argv[2] = wish.layout.argv[2].replacen("trap 'exit 0' TERM", "", 1);
    wish.layout.stop.grace = Duration::from_millis(200);
    host.ensure_process(&wish).await.expect("it starts");
    let written = host.place(&subject.instance).volume.join("written");
    until("it is up", async || written.exists()).await;
    let pid = pid_of(&host.process(&subject.instance).await.expect("a state"));
    let began = Instant::now();
    assert_eq!(host.ensure_stopped(&subject.instance, &subject.cluster, 1).await.expect("stopped"), StopState::Stopped);
    assert!(began.elapsed() >= Duration::from_millis(200) && !lives(pid));
}

#[tokio::test]
async fn a_start_that_races_with_a_fence_never_survives_it() {
    let bench = Bench::new();
    let host = bench.host().await;
    let (subject, wish) = up(&host, "").await;
    let starts = host.place(&subject.instance).logs.join("engine.log");
    for round in 1..=15_u64 {
        let late = ProcessWish { term: 2 * round - 1, ..wish.clone() };
        let (started, fenced) = tokio::join!(host.ensure_process(&late), host.fence(&subject.instance, &subject.cluster, 2 * round));
        fenced.expect("fenced");
        drop(started);
        assert_eq!(host.process(&subject.instance).await.expect("a state"), ProcessState::Stopped, "round {round}");
        let words = std::fs::read(&starts).expect("a log").len();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(std::fs::read(&starts).expect("a log").len(), words, "nothing starts after the fence");
    }
}

#[tokio::test]
async fn an_engine_runs_with_nothing_but_its_own_account() {
    let bench = Bench::new();
    let host = bench.host().await;
    let before = "cat /proc/self/status > status; cat /proc/net/dev > network; ulimit -c > core; id -G > groups; cat > stdin; echo x > ../config/engine.conf";
    let (subject, _) = started(&host, before).await;
    let volume = host.place(&subject.instance).volume;
    until("it is up", async || volume.join("written").exists()).await;
    let read = |name: &str| std::fs::read_to_string(volume.join(name)).expect("read");
    assert!(read("status").contains("NoNewPrivs:\t1"), "{}", read("status"));
    assert_eq!(read("core").trim(), "0");
    assert_eq!(read("stdin"), "");
    if host.abilities().tenants_isolated {
        let uid = subject.uid.expect("a uid").to_string();
        assert_eq!(read("groups").trim(), uid);
        assert!(read("status").contains("CapEff:\t0000000000000000"));
        let config = host.place(&subject.instance).config.join("engine.conf");
        assert_eq!(std::fs::read_to_string(config).expect("read"), "a = 1\n", "it may read, not write");
    }
    if host.abilities().network_isolated {
        assert_eq!(read("network").lines().filter(|line| line.contains(':')).count(), 1, "only its own loopback: {}", read("network"));
    }
}

#[tokio::test]
async fn running_out_of_memory_is_told_from_other_deaths() {
    let bench = Bench::new();
    let host = bench.host().await;
    if !host.abilities().limits_enforced {
        return;
    }
    let subject = Subject::new(&*host).with_volume(&*host, &small_template("small")).await;
    let layout = script_engine(&host.place(&subject.instance), "exec tail /dev/zero");
    let wish = ProcessWish { memory_bytes: 16 << 20, restart: false, ..subject.process(layout, 1) };
    host.ensure_process(&wish).await.expect("it starts");
    let last = given_up(&host, &subject).await;
    assert!(last.out_of_memory && !last.volume_full, "{last:?}");
}

/// A small file system that is unmounted when the test ends.
struct SmallDisk<'a>(&'a Path);
impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("made");
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }
}
impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_its_instance_can_still_be_stopped_and_removed() {
    let bench = Bench::new();
    let data = bench.data();
    let Some(_disk) = is_root().then(|| SmallDisk::mount(&data, "4m")).flatten() else { return };
    let host = bench.host().await;
    let (other, _) = started(&host, "").await;
    let subject = Subject::new(&*host).with_volume(&*host, &small_template("small")).await;
    let layout = script_engine(&host.place(&subject.instance), "cat /dev/zero > fill; exit 1");
    host.ensure_process(&ProcessWish { restart: false, ..subject.process(layout, 1) }).await.expect("it starts");
    let last = given_up(&host, &subject).await;
    assert!(last.volume_full && !last.out_of_memory, "{last:?}");
    assert_eq!(host.ensure_stopped(&subject.instance, &subject.cluster, 1).await.expect("stopped"), StopState::Stopped);
    assert_eq!(host.ensure_stopped(&other.instance, &other.cluster, 1).await.expect("stopped"), StopState::Stopped);
    host.ensure_instance_absent(&subject.instance).await.expect("removed");
    assert_eq!(host.process(&subject.instance).await.expect("a state"), ProcessState::Absent);
    drop(host);
    stop_all(bench.options.clone()).await.expect("stopped");
}

#[tokio::test]
async fn a_log_that_its_owner_replaced_by_a_link_is_not_followed() {
    let bench = Bench::new();
    let host = bench.host().await;
    let (subject, wish) = started(&host, "").await;
    let log = host.place(&subject.instance).logs.join("engine.log");
    until("it is up", async || host.log_tail(&subject.instance, 100).await.expect("a log").contains("ready")).await;
    host.ensure_stopped(&subject.instance, &subject.cluster, 1).await.expect("stopped");
    std::fs::remove_file(&log).expect("removed");
    let secret = bench.data().join("secret");
    std::fs::write(&secret, "secret\n").expect("written");
    std::os::unix::fs::symlink(&secret, &log).expect("linked");
    assert_eq!(host.log_tail(&subject.instance, 100).await.expect("nothing"), "");
    host.ensure_process(&ProcessWish { restart: false, ..wish }).await.expect("asked");
    given_up(&host, &subject).await;
    assert_eq!(std::fs::read_to_string(&secret).expect("read"), "secret\n");
}

#[tokio::test]
async fn stopping_everything_leaves_no_process_group_or_socket_and_what_ran_can_run_again() {
    let bench = Bench::new();
    let host = bench.host().await;
    let (subject, wish) = started(&host, "").await;
    let (stopped_before, _) = started(&host, "").await;
    host.ensure_gateway().await.expect("the gateway runs");
    host.ensure_stopped(&stopped_before.instance, &stopped_before.cluster, 1).await.expect("stopped");
    let pids = [running(&*host, &subject.instance).await.0, bench.shim_pid(&subject)];
    let group = bench.group(&subject);
    drop(host);
    let stopped = stop_all(bench.options.clone()).await.expect("stopped");
    assert_eq!((stopped.instances, stopped.gateway), (vec![subject.instance.clone()], true));
    assert!(pids.into_iter().all(|pid| !lives(pid)));
    assert!(!group.parent().is_some_and(Path::is_dir) && !bench.options.run_dir.as_ref().expect("a directory").exists());
    let host = bench.host().await;
    assert_eq!(host.process(&subject.instance).await.expect("a state"), ProcessState::Stopped);
    host.ensure_process(&wish).await.expect("it starts");
    running(&*host, &subject.instance).await;
}
