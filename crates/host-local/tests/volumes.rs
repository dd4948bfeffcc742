//! Volumes: spares, failures, and who can read them.

mod bench;

use bench::{Bench, is_root, mounts_and_loops};
use moorage_domain::ProblemCode;
use moorage_domain::instance::ProcessState;
use moorage_domain::layout::{JobStep, TemplateSpec};
use moorage_host::contract::{Subject, script_engine, small_template, until};
use moorage_host::{Host, VolumeState};
use moorage_host_local::stop_all;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

fn program(script: &str, seconds: u64) -> JobStep {
    JobStep::Run {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: vec![(String::from("PATH"), String::from("/usr/bin:/bin"))],
        stdin: String::from("from {volume}\n"),
        limit: Duration::from_secs(seconds),
    }
}

#[tokio::test]
async fn every_spare_goes_to_one_instance_and_has_its_own_identity() {
    let bench = Bench::new();
    let host = bench.host().await;
    let template = small_template("small");
    assert_eq!(host.ensure_spares(&template, 3).await.expect("made"), 3);
    let subjects: Vec<Subject> = (0..6).map(|_| Subject::new(&*host)).collect();
    let claims = subjects.iter().map(|subject| {
        let (host, wish) = (&host, subject.volume(&template));
        async move {
            let mut from_spare = false;
            until("the volume is ready", async || match host.ensure_volume(&wish).await.expect("no failure") {
                VolumeState::Ready { from_spare: waiting } => {
                    from_spare = waiting;
                    true
                }
                VolumeState::Preparing => false,
            })
            .await;
            from_spare
        }
    });
    let from_spare = futures::future::join_all(claims).await;
    assert_eq!(from_spare.iter().filter(|spare| **spare).count(), 3, "{from_spare:?}");
    let identities: BTreeSet<Vec<u8>> =
        subjects.iter().map(|subject| std::fs::read(host.place(&subject.instance).volume.join("identity")).expect("an identity")).collect();
    assert_eq!(identities.len(), 6);
    let work = bench.data().join("work");
    until("no half-made thing is left", async || std::fs::read_dir(&work).expect("listed").next().is_none()).await;
}

#[tokio::test]
async fn a_job_runs_without_privileges_in_its_own_room_and_leaves_nobody_behind() {
    let bench = Bench::new();
    let host = bench.host().await;
    let script = "id -u > '{volume}'/uid; cat > '{volume}'/stdin; pwd > '{volume}'/pwd; setsid sleep 600 & exit 0";
    let template = TemplateSpec { key: String::from("job"), make: vec![program(script, 10)], personalise: Vec::new() };
    host.ensure_spares(&template, 1).await.expect("made");
    let volume = std::fs::read_dir(bench.data().join("spares/job")).expect("listed").next().expect("one").expect("one").path();
    let read = |name: &str| std::fs::read_to_string(volume.join(name)).expect("read");
    if is_root() {
        assert_eq!(read("uid").trim(), "65534");
        assert_eq!(std::fs::metadata(&volume).expect("there").mode() & 0o777, 0o700);
    }
    assert!(read("stdin").starts_with("from /") && read("pwd").trim().ends_with("/scratch"));
    let sleeping = Command::new("pgrep").args(["-f", "sleep 600"]).output().expect("it runs");
    let here = String::from_utf8_lossy(&sleeping.stdout)
        .lines()
        .any(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at.starts_with(bench.data())));
    assert!(!here, "a job's child outlived it");
}

#[tokio::test]
async fn a_failed_preparation_is_told_in_its_own_words_to_everybody_who_waits_and_tried_anew_when_asked_again() {
    let bench = Bench::new();
    let host = bench.host().await;
    let script = "echo 'initdb: error: no such locale' >&2; exit 1";
    let template = TemplateSpec { key: String::from("broken"), make: vec![program(script, 10)], personalise: Vec::new() };
    let subjects = [Subject::new(&*host), Subject::new(&*host)];
    for _ in 0..2 {
        for subject in &subjects {
            assert_eq!(host.ensure_volume(&subject.volume(&template)).await.expect("it begins"), VolumeState::Preparing);
        }
        for subject in &subjects {
            let mut failure = None;
            until("the failure is told", async || match host.ensure_volume(&subject.volume(&template)).await {
                Ok(_) => false,
                Err(error) => {
                    failure = Some(error);
                    true
                }
            })
            .await;
            let problem = failure.expect("a failure").problem;
            assert_eq!(problem.code, ProblemCode::EngineStartFailed);
            assert_eq!(problem.detail.as_deref(), Some("initdb: error: no such locale"));
        }
    }
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_ended() {
    let bench = Bench::new();
    let host = bench.host().await;
    let template = TemplateSpec { key: String::from("slow"), make: vec![program("echo working; sleep 600", 1)], personalise: Vec::new() };
    let error = host.ensure_spares(&template, 1).await.expect_err("too long");
    assert!(error.problem.message.contains("longer than 1 second"), "{}", error.problem);
    assert_eq!(error.problem.detail.as_deref(), Some("working"));
}

#[tokio::test]
async fn a_key_that_is_no_plain_name_is_refused() {
    let bench = Bench::new();
    let host = bench.host().await;
    for key in ["", "../up", ".hidden", "a/b", "a b"] {
        assert!(host.ensure_spares(&small_template(key), 1).await.is_err(), "{key:?}");
    }
}

#[tokio::test]
async fn a_claim_that_was_interrupted_is_completed_by_the_next_call() {
    let bench = Bench::new();
    let host = bench.host().await;
    let template = small_template("small");
    let subject = Subject::new(&*host).with_volume(&*host, &template).await;
    let volume = host.place(&subject.instance).volume;
    let identity = std::fs::read(volume.join("identity")).expect("read");
    // As after a crash between the rename and the mark.
    std::fs::remove_file(volume.parent().expect("a parent").join("volume.json")).expect("removed");
    if is_root() {
        std::os::unix::fs::chown(&volume, Some(0), Some(0)).expect("given");
        std::os::unix::fs::chown(volume.join("identity"), Some(65_534), Some(65_534)).expect("given");
    }
    let wish = subject.process(script_engine(&host.place(&subject.instance), ""), 1);
    assert!(host.ensure_process(&wish).await.is_err(), "not before it is complete");
    assert!(matches!(host.ensure_volume(&subject.volume(&template)).await.expect("completed"), VolumeState::Ready { .. }));
    assert_eq!(std::fs::read(volume.join("identity")).expect("read"), identity);
    if let Some(uid) = subject.uid {
        assert_eq!(std::fs::metadata(volume.join("identity")).expect("there").uid(), uid);
        assert_eq!(std::fs::metadata(&volume).expect("there").uid(), uid);
    }
}

fn listed(directory: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(directory).expect("listed").map(|entry| entry.expect("one").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn templates_that_are_not_kept_go_with_their_spares_and_come_back_when_they_are_asked_for() {
    let bench = Bench::new();
    let host = bench.host().await;
    for key in ["old", "new"] {
        assert_eq!(host.ensure_spares(&small_template(key), 2).await.expect("made"), 2);
    }
    let subject = Subject::new(&*host).with_volume(&*host, &small_template("old")).await;
    let identity = host.place(&subject.instance).volume.join("identity");
    let keep = [String::from("new")];
    assert_eq!(host.ensure_only_templates(&keep).await.expect("removed"), ["old"]);
    assert_eq!(host.ensure_only_templates(&keep).await.expect("nothing to do"), [""; 0]);
    for directory in ["templates", "spares"] {
        assert_eq!(listed(&bench.data().join(directory)), ["new"], "{directory}");
    }
    assert_eq!(listed(&bench.data().join("spares/new")).len(), 2);
    assert!(listed(&bench.data().join("work")).is_empty());
    assert!(identity.exists(), "what an instance has is its own");
    assert_eq!(host.ensure_volume(&subject.volume(&small_template("old"))).await.expect("there"), VolumeState::Ready { from_spare: true });
    let another = Subject::new(&*host).with_volume(&*host, &small_template("old")).await;
    assert!(host.place(&another.instance).volume.join("identity").exists());
}

#[tokio::test]
async fn a_template_that_an_instance_waits_for_is_not_removed() {
    let bench = Bench::new();
    let host = bench.host().await;
    let gate = bench.data().join("gate");
    let script = format!("until [ -e '{}' ]; do sleep 0.01; done; echo made > '{{volume}}'/identity", gate.display());
    let template = TemplateSpec { key: String::from("slow"), make: vec![program(&script, 30)], personalise: Vec::new() };
    let subject = Subject::new(&*host);
    assert_eq!(host.ensure_volume(&subject.volume(&template)).await.expect("it begins"), VolumeState::Preparing);
    assert_eq!(host.ensure_only_templates(&[]).await.expect("nothing to remove"), [""; 0]);
    std::fs::write(&gate, "").expect("opened");
    let spares = bench.data().join("spares/slow");
    until("the spare waits", async || std::fs::read_dir(&spares).is_ok_and(|mut spares| spares.next().is_some())).await;
    assert_eq!(host.ensure_only_templates(&[]).await.expect("it is awaited"), [""; 0]);
    assert!(matches!(host.ensure_volume(&subject.volume(&template)).await.expect("taken"), VolumeState::Ready { .. }));
    until("it can be removed", async || host.ensure_only_templates(&[]).await.expect("removed") == ["slow"]).await;
    assert!(host.place(&subject.instance).volume.join("identity").exists());
}

#[tokio::test]
async fn volumes_are_whole_while_their_template_is_removed_again_and_again() {
    let bench = Bench::new();
    let host = bench.host().await;
    let template = small_template("small");
    let claims = futures::future::join_all((0..8).map(|_| async {
        let subject = Subject::new(&*host);
        until("the volume is ready", async || {
            matches!(host.ensure_volume(&subject.volume(&template)).await.expect("no failure"), VolumeState::Ready { .. })
        })
        .await;
        let volume = host.place(&subject.instance).volume;
        assert!(volume.join("identity").exists(), "half a volume");
        host.ensure_spares(&template, 1).await.expect("made");
    }));
    let removals = async {
        loop {
            host.ensure_only_templates(&[]).await.expect("removed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        _ = claims => {}
        () = removals => {}
    }
    assert_eq!(listed(&bench.data().join("instances")).len(), 8);
}

#[tokio::test]
async fn another_tenant_reads_neither_volume_nor_socket_nor_log_nor_configuration() {
    let bench = Bench::new();
    let host = bench.host().await;
    if !host.abilities().tenants_isolated {
        return;
    }
    let subject = Subject::new(&*host).with_volume(&*host, &small_template("small")).await;
    let place = host.place(&subject.instance);
    host.ensure_process(&subject.process(script_engine(&place, ""), 1)).await.expect("it starts");
    until("it is up", async || place.logs.join("engine.log").exists()).await;
    let can = |uid: u32, gid: u32, script: String| {
        Command::new("/bin/sh").args(["-c", &script]).uid(uid).gid(gid).current_dir("/").status().expect("it runs").success()
    };
    let own = subject.uid.expect("a uid");
    let things = [place.volume.join("identity"), place.logs.join("engine.log"), place.config.join("engine.conf")];
    for thing in &things {
        let read = format!("cat {} > /dev/null 2>&1", thing.display());
        assert!(can(own, own, read.clone()), "{thing:?} is its own");
        assert!(!can(own + 1, own + 1, read.clone()), "{thing:?} is not another's");
        assert!(!can(65_534, 65_534, read), "{thing:?} is not nobody's");
    }
    let enter = format!("cd {} 2>/dev/null", place.run.display());
    let gateway = host.uid_range().expect("a range").end;
    assert!(can(own, own, enter.clone()) && can(gateway, gateway, enter.clone()));
    assert!(!can(own + 1, own + 1, enter));
    assert!(!can(own, own, format!("ls {} > /dev/null 2>&1", bench.data().join("instances").display())), "nobody lists the neighbours");
}

#[tokio::test]
async fn images_are_unmounted_by_a_stop_of_everything_and_come_back_with_their_engines() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench.options.volume_driver = Some(String::from("image"));
    let template = small_template("small");
    let (subject, identity) = {
        let host = bench.host().await;
        host.ensure_spares(&template, 2).await.expect("made");
        assert_eq!(mounts_and_loops(&bench.data()), [""; 0], "spares are at rest");
        let subject = Subject::new(&*host).with_volume(&*host, &template).await;
        let place = host.place(&subject.instance);
        host.ensure_process(&subject.process(script_engine(&place, ""), 1)).await.expect("it starts");
        until("it is up", async || place.logs.join("engine.log").exists()).await;
        (subject, std::fs::read(place.volume.join("identity")).expect("an identity"))
    };
    assert_eq!(mounts_and_loops(&bench.data()).len(), 2, "a mount and its device");
    stop_all(bench.options.clone()).await.expect("stopped");
    assert_eq!(mounts_and_loops(&bench.data()), [""; 0]);
    // Nobody says how volumes are kept: that is remembered.
    bench.options.volume_driver = None;
    let host = bench.host().await;
    assert_eq!(host.abilities().volume_driver, "image");
    let place = host.place(&subject.instance);
    assert!(!place.volume.join("identity").exists(), "nothing is mounted before it is needed");
    let state = host.ensure_process(&subject.process(script_engine(&place, ""), 2)).await.expect("it starts");
    assert!(matches!(state, ProcessState::Running { .. } | ProcessState::BackingOff { .. }), "{state:?}");
    assert_eq!(std::fs::read(place.volume.join("identity")).expect("it is back"), identity);
    host.ensure_instance_absent(&subject.instance).await.expect("removed");
    assert_eq!(mounts_and_loops(&bench.data()), [""; 0]);
    assert!(host.inventory().await.expect("an inventory").instances.is_empty());
}

#[tokio::test]
async fn a_volume_that_is_still_mounted_is_found_without_its_directory_being_known() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench.options.volume_driver = Some(String::from("image"));
    let host = bench.host().await;
    let subject = Subject::new(&*host).with_volume(&*host, &small_template("small")).await;
    std::fs::remove_file(bench.data().join("instances").join(subject.instance.as_str()).join("volume.json")).expect("removed");
    assert!(host.inventory().await.expect("an inventory").instances.contains_key(&subject.instance));
    host.ensure_instance_absent(&subject.instance).await.expect("removed");
    // The kernel lets go of the device of the job that made it a moment after its last use.
    until("nothing is left mounted", async || mounts_and_loops(&bench.data()).is_empty()).await;
}

#[tokio::test]
async fn what_a_killed_host_had_half_made_as_an_image_is_unmounted_and_removed_by_the_next_one() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench.options.volume_driver = Some(String::from("image"));
    drop(bench.host().await);
    let room = bench.data().join("work").join("room");
    let (volume, image) = (room.join("volume"), room.join("volume.image"));
    std::fs::create_dir_all(&volume).expect("made");
    std::fs::File::create(&image).expect("made").set_len(64 << 20).expect("sized");
    let run = |program: &str, arguments: &[&std::path::Path]| {
        assert!(Command::new(program).args(arguments).status().expect("it runs").success(), "{program}");
    };
    run("mkfs.ext4", &["-qF".as_ref(), &image]);
    run("mount", &["-oloop".as_ref(), &image, &volume]);
    std::fs::write(volume.join("half"), "made").expect("written");
    let _host = bench.host().await;
    assert_eq!(mounts_and_loops(&bench.data()), [""; 0]);
    assert!(listed(&bench.data().join("work")).is_empty());
}
