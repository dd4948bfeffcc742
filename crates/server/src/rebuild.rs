//! Bringing back a lost store from the manifests beside the databases. What the store has already stays as it is.

use crate::first_start;
use anyhow::Result;
use moorage_domain::cluster::Wish;
use moorage_domain::{ClusterId, InstanceId, Problem, ProblemCode, Timestamp};
use moorage_host_local::Kept;
use moorage_operations::manifest::Manifest;
use moorage_store::{Clusters, Secrets, Store, StoreAddress, StoredRow, StoredValue, Transfer, UnitOfWork};
use std::collections::BTreeSet;
use std::path::Path;

/// What was done.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// Clusters that are in the store again.
    pub brought_back: usize,
    /// Clusters that were in it.
    pub known_already: usize,
    /// Manifests that could not be brought back; what they are of is left alone.
    pub left_out: usize,
    /// One line per thing that a person should know.
    pub lines: Vec<String>,
}

impl Rebuilt {
    fn leave_out(&mut self, line: String) {
        self.left_out += 1;
        self.lines.push(line);
    }
}

/// Tables of what a cluster can be without.
const BESIDE: &[&str] = &["allocation", "plan_cluster", "api_id"];

/// Tables of whom a person misses.
const PEOPLE: [&str; 3] = ["project", "account", "team"];

/// Brings back what is missing, each cluster as a whole or not at all.
pub async fn run(directory: &Path, address: &StoreAddress, now: Timestamp) -> Result<Rebuilt> {
    let kept = Kept::read(directory)?;
    let people = people(&kept, directory)?;
    let missing = matches!(address, StoreAddress::File(path) if !path.exists());
    let store = first_start::open_store(address).await?;
    let rebuilt = fill_unless_the_key_is_wrong(&store, &kept, people, directory).await;
    store.close().await;
    if let (Err(_), true, StoreAddress::File(path)) = (&rebuilt, missing, address) {
        first_start::remove_store_file(path);
    }
    let rebuilt = rebuilt?;
    // Opened as a server does: this machine is known then.
    first_start::open(directory, address, now).await?.store.close().await;
    Ok(rebuilt)
}

async fn fill_unless_the_key_is_wrong(store: &Store, kept: &Kept, people: Manifest, directory: &Path) -> Result<Rebuilt> {
    let mut uow = store.begin().await?;
    let rebuilt = fill(&mut uow, kept, people).await?;
    first_start::check_key(&mut uow, directory).await?;
    uow.commit().await?;
    Ok(rebuilt)
}

fn people(kept: &Kept, directory: &Path) -> Result<Manifest, Problem> {
    let unusable = |why: String| {
        Problem::new(ProblemCode::DataDirectoryUnusable, format!("{} cannot be used to rebuild the store.", directory.display()))
            .detail(why)
            .hint("Restore a backup of the store instead (`moorage store restore`), then rebuild what it does not know.")
    };
    let text = kept.manifests.iter().find(|(of, _)| of.is_none()).map(|(_, text)| text);
    let text = text.ok_or_else(|| unusable("The installation's manifest is missing.".to_owned()))?;
    Manifest::parse(text).map_err(|error| unusable(format!("The installation's manifest: {error}.")))
}

async fn fill(uow: &mut UnitOfWork, kept: &Kept, people: Manifest) -> Result<Rebuilt> {
    let mut rebuilt = Rebuilt::default();
    match uow.fact("installation").await? {
        None => {
            for row in &people.rows {
                uow.insert_row(row).await?;
            }
        }
        Some(installation) => people_beside(uow, &installation, &people.rows, &mut rebuilt).await?,
    }
    let mut seen = BTreeSet::new();
    let mut hosts = BTreeSet::new();
    let mut manifests = Vec::new();
    for (instance, text) in kept.manifests.iter().filter_map(|(of, text)| of.as_ref().map(|instance| (instance, text))) {
        match Manifest::parse(text) {
            Ok(manifest) => manifests.push(manifest.rows),
            Err(error) => {
                rebuilt.leave_out(format!("instance {instance}: its manifest cannot be used, {error}; its files are left alone"));
            }
        }
    }
    // Of several manifests of one cluster, the one that knows the latest term.
    manifests.sort_by_key(|rows| std::cmp::Reverse(term(rows)));
    for rows in manifests {
        cluster(uow, kept, rows, &mut seen, &mut hosts, &mut rebuilt).await?;
    }
    for instance in without_manifest(kept) {
        rebuilt.lines.push(format!("instance {instance}: it was never finished, or has no manifest; its files are left alone"));
    }
    for host in hosts {
        uow.project_states(&moorage_domain::HostId::parse(&host)?).await?;
    }
    Ok(rebuilt)
}

/// With people in the store, it was restored, or another machine that shares it was rebuilt first: who left since is not let in again.
async fn people_beside(uow: &mut UnitOfWork, installation: &str, rows: &[StoredRow], rebuilt: &mut Rebuilt) -> Result<()> {
    let of_installation = rows.iter().find(|row| row.table == "installation" && row.text("name") == Some("installation"));
    if of_installation.is_some_and(|row| row.text("value") != Some(installation)) {
        return Err(Problem::new(ProblemCode::DataDirectoryUnusable, "The store is not the one of this data directory's installation.")
            .hint("Name the right one with MOORAGE_DATABASE_URL or `[store] url`. Nothing was changed.")
            .into());
    }
    let mut there = BTreeSet::new();
    for table in PEOPLE {
        uow.each_row(table, |row| {
            there.extend(row.text("id").map(str::to_owned));
            Ok(())
        })
        .await?;
    }
    let of_people = rows.iter().filter(|row| PEOPLE.contains(&row.table.as_str()));
    for row in of_people.filter(|row| !row.text("id").is_some_and(|id| there.contains(id))) {
        rebuilt.lines.push(format!(
            "{} {}: known on this machine and not in the store; it is not let in again, make it anew if it should be there",
            row.table,
            row.text("name").unwrap_or_default()
        ));
    }
    Ok(())
}

fn term(rows: &[StoredRow]) -> i64 {
    rows.iter().find(|row| row.table == "cluster").and_then(|row| row.number("term")).unwrap_or(0)
}

async fn cluster(
    uow: &mut UnitOfWork,
    kept: &Kept,
    rows: Vec<StoredRow>,
    seen: &mut BTreeSet<ClusterId>,
    hosts: &mut BTreeSet<String>,
    rebuilt: &mut Rebuilt,
) -> Result<()> {
    let own = rows.iter().find(|row| row.table == "cluster");
    let Some((own, id)) = own.and_then(|row| Some((row, ClusterId::parse(row.text("id")?).ok()?))) else {
        rebuilt.leave_out("a manifest names no cluster; it is left out".to_owned());
        return Ok(());
    };
    if !seen.insert(id.clone()) {
        return Ok(());
    }
    let name = own.text("name").unwrap_or_default().to_owned();
    if uow.is_cluster_known(&id).await? {
        rebuilt.known_already += 1;
        return Ok(());
    }
    if let Some(project) = own.text("project_id").and_then(|id| moorage_domain::ProjectId::parse(id).ok())
        && uow.cluster_named(&project, &name).await?.is_some()
    {
        rebuilt.leave_out(format!("{name} ({id}): another database has its name by now; its files are left alone"));
        return Ok(());
    }
    // Who wrote last is not known then, and the other one may lack what was acknowledged.
    let of_several = rows.iter().any(|row| row.table == "replication");
    if of_several && kept.terms.get(&id).is_some_and(|seen| i64::try_from(*seen).unwrap_or(i64::MAX) > term(&rows)) {
        rebuilt.leave_out(format!(
            "{name} ({id}): its manifest is older than its last failover, so which instance wrote last is not known; its files are left alone, and a person has to decide"
        ));
        return Ok(());
    }
    let host = own.text("host_id").map(str::to_owned);
    let (beside, mut own): (Vec<StoredRow>, Vec<StoredRow>) = rows.into_iter().partition(|row| BESIDE.contains(&row.table.as_str()));
    for row in &mut own {
        if row.table == "cluster" {
            let term = row.number("term").unwrap_or(0).max(kept.terms.get(&id).map_or(0, |term| i64::try_from(*term).unwrap_or(i64::MAX)));
            row.set("term", StoredValue::Number(term));
            if row.text("wish") == Some(Wish::Gone.as_str()) {
                row.set("wish", StoredValue::Text(Wish::Stop.as_str().into()));
                rebuilt.lines.push(format!("{name}: it was being deleted; delete it again if that is still meant"));
            }
        }
    }
    // The manifest of people may date from before this machine joined, on whichever machine it was taken from.
    if let Some(host) = host.as_deref().and_then(|host| moorage_domain::HostId::parse(host).ok()) {
        uow.insert_host(&host, &first_start::host_name(), crate::serve::now()).await?;
    }
    if !uow.insert_rows_if_they_fit(&own).await? {
        rebuilt.leave_out(format!(
            "{name} ({id}): it contradicts what is in the store by now (its project, address, account or a name is gone or taken); its files are left alone"
        ));
        return Ok(());
    }
    hosts.extend(host);
    for row in beside {
        if let Some(line) = put_beside(uow, row).await? {
            rebuilt.lines.push(format!("{name}: {line}"));
        }
    }
    rebuilt.brought_back += 1;
    rebuilt.lines.push(format!("{name} ({id}) is back"));
    Ok(())
}

/// Puts in what a cluster can be without: what its databases were asked for by may be gone, as may a number. What could not be kept, for a
/// person to know.
async fn put_beside(uow: &mut UnitOfWork, row: StoredRow) -> Result<Option<String>> {
    if uow.insert_rows_if_they_fit(std::slice::from_ref(&row)).await? {
        return Ok(None);
    }
    let (database, table) = (row.text("name").unwrap_or_default().to_owned(), row.table.clone());
    match table.as_str() {
        "allocation" => {
            for (gone, said) in [
                (&["application_id"][..], "what it is for is gone"),
                (&["team_id"], "its team is gone; those who look after all databases see it"),
                (&["application_id", "team_id"], "its team is gone, and what it is for; those who look after all databases see it"),
            ] {
                let mut without = row.clone();
                gone.iter().for_each(|column| without.set(column, StoredValue::Null(())));
                if uow.insert_rows_if_they_fit(&[without]).await? {
                    return Ok(Some(format!("database '{database}': {said}")));
                }
            }
            Ok(Some(format!(
                "database '{database}': its plan or environment is gone, or its name taken; it is known as one of its cluster only"
            )))
        }
        "api_id" => {
            let (kind, id) = (row.text("kind").unwrap_or_default().to_owned(), row.text("internal_id").unwrap_or_default().to_owned());
            uow.give_number(row.text("family").unwrap_or_default(), &kind, &id).await?;
            Ok(Some(format!("{kind} {id}: its number was given again; it has another one")))
        }
        _ => Ok(Some("its plan is gone; no more databases are put there".to_owned())),
    }
}

fn without_manifest(kept: &Kept) -> Vec<&InstanceId> {
    let with: BTreeSet<_> = kept.manifests.iter().filter_map(|(of, _)| of.as_ref()).collect();
    kept.instances.iter().filter(|instance| !with.contains(instance)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use moorage_domain::replication::Replication;
    use moorage_store::Write;
    use moorage_testkit::{TestStore, a_cluster};

    async fn filled(store: &Store, kept: &Kept, people: Manifest) -> Result<Rebuilt> {
        let mut uow = store.begin().await?;
        let rebuilt = fill(&mut uow, kept, people).await?;
        uow.commit().await?;
        Ok(rebuilt)
    }

    async fn manifests_of(store: &TestStore, change: impl Fn(&mut StoredRow)) -> Kept {
        let mut look = store.store().look().await.expect("a look");
        let text = |rows: Vec<StoredRow>| {
            let rows: Vec<_> = rows
                .into_iter()
                .map(|mut row| {
                    change(&mut row);
                    row
                })
                .collect();
            serde_json::json!({"version": 1, "schema": moorage_store::SCHEMA_VERSION, "rows": rows}).to_string()
        };
        let people = text(look.rows_of_people().await.expect("rows"));
        let cluster = text(look.rows_of_cluster(&a_cluster(1).id).await.expect("rows"));
        Kept {
            instances: vec![InstanceId::from_bits(1), InstanceId::from_bits(2)],
            manifests: vec![(None, people), (Some(InstanceId::from_bits(1)), cluster)],
            terms: [(a_cluster(1).id, 7)].into(),
        }
    }

    #[tokio::test]
    async fn what_was_being_deleted_comes_back_stopped_in_the_highest_term_its_host_has_seen() {
        let (lost, found) = (TestStore::open().await, TestStore::open().await);
        lost.insert(&a_cluster(1)).await;
        let kept = manifests_of(&lost, |row| {
            if row.table == "cluster" {
                row.set("wish", StoredValue::Text("gone".into()));
            }
        })
        .await;
        let people = people(&kept, Path::new("/d")).expect("people");
        let rebuilt = filled(found.store(), &kept, people).await.expect("rebuilt");
        assert_eq!((rebuilt.brought_back, rebuilt.known_already), (1, 0));
        assert!(rebuilt.lines.iter().any(|line| line.contains("delete it again")), "{:?}", rebuilt.lines);
        assert!(rebuilt.left_out == 0 && rebuilt.lines.iter().any(|line| line.contains("never finished")), "{:?}", rebuilt.lines);
        let back = found.store().look().await.expect("a look").cluster(&a_cluster(1).id).await.expect("read").expect("there");
        assert_eq!((back.wish, back.term), (Wish::Stop, 7));
    }

    #[tokio::test]
    async fn what_refers_to_something_gone_keeps_nothing_else_from_coming_back() {
        let (lost, found) = (TestStore::open().await, TestStore::open().await);
        lost.insert(&a_cluster(1)).await;
        let id = a_cluster(1).id;
        let mut kept = manifests_of(&lost, |_| {}).await;
        let people = people(&kept, Path::new("/d")).expect("people");
        let mut manifest: serde_json::Value = serde_json::from_str(&kept.manifests[1].1).expect("a document");
        let rows = manifest["rows"].as_array_mut().expect("rows");
        let database = rows.iter().find(|row| row["table"] == "database").expect("its first database")["columns"]["id"].clone();
        for (table, columns) in [
            ("plan_cluster", serde_json::json!({"cluster_id": id.as_str(), "plan_id": "gone", "environment_id": "gone"})),
            (
                "allocation",
                serde_json::json!({
                    "database_id": database, "project_id": "gone", "name": "shop", "plan_id": "gone", "environment_id": "gone", "protected": 0
                }),
            ),
            ("api_id", serde_json::json!({"family": "globo", "kind": "database", "external_id": 1, "internal_id": database})),
        ] {
            rows.push(serde_json::json!({"table": table, "columns": columns}));
        }
        kept.manifests[1].1 = manifest.to_string();
        let mut uow = found.store().begin().await.expect("begun");
        uow.give_number("globo", "database", "another").await.expect("the number is given again");
        uow.commit().await.expect("committed");
        let rebuilt = filled(found.store(), &kept, people).await.expect("rebuilt");
        assert_eq!(rebuilt.brought_back, 1, "{:?}", rebuilt.lines);
        for words in ["no more databases are put there", "known as one of its cluster only", "it has another one", "is back"] {
            assert!(rebuilt.lines.iter().any(|line| line.contains(words)), "{words}: {:?}", rebuilt.lines);
        }
        // What the cluster cannot be without, on the other hand, leaves it out, and only it.
        let (lost, found) = (TestStore::open().await, TestStore::open().await);
        lost.insert(&a_cluster(1)).await;
        let kept = manifests_of(&lost, |row| {
            if row.table == "cluster" {
                row.set("project_id", StoredValue::Text("gone".into()));
            }
        })
        .await;
        let rebuilt = filled(found.store(), &kept, self::people(&kept, Path::new("/d")).expect("people")).await.expect("rebuilt");
        assert!(
            (rebuilt.brought_back, rebuilt.left_out) == (0, 1) && rebuilt.lines.iter().any(|line| line.contains("contradicts")),
            "{:?}",
            rebuilt.lines
        );
    }

    #[tokio::test]
    async fn who_wrote_last_is_not_guessed_from_a_manifest_older_than_a_failover() {
        for (known, brought_back) in [(6, 0), (7, 1)] {
            let (lost, found) = (TestStore::open().await, TestStore::open().await);
            lost.insert(&a_cluster(1)).await;
            let replication = Replication {
                cluster: a_cluster(1).id,
                primary: InstanceId::from_bits(1),
                promotable: None,
                rewind: None,
                reason: String::new(),
                sealed_password: String::new(),
            };
            let mut uow = lost.store().begin().await.expect("begun");
            uow.apply(&Write::Replication(replication), moorage_domain::Timestamp(1)).await.expect("written");
            uow.commit().await.expect("committed");
            let kept = manifests_of(&lost, |row| {
                if row.table == "cluster" {
                    row.set("term", StoredValue::Number(known));
                }
            })
            .await;
            let people = people(&kept, Path::new("/d")).expect("people");
            let rebuilt = filled(found.store(), &kept, people).await.expect("rebuilt");
            assert_eq!(rebuilt.brought_back, brought_back, "{:?}", rebuilt.lines);
        }
    }

    #[tokio::test]
    async fn a_machine_nobody_knows_any_more_brings_its_databases_back() {
        let (lost, found) = (TestStore::open().await, TestStore::open().await);
        lost.insert(&a_cluster(1)).await;
        let mut kept = manifests_of(&lost, |_| {}).await;
        let mut manifest: serde_json::Value = serde_json::from_str(&kept.manifests[0].1).expect("a document");
        manifest["rows"].as_array_mut().expect("rows").retain(|row| row["table"] != "host");
        kept.manifests[0].1 = manifest.to_string();
        let people = people(&kept, Path::new("/d")).expect("people");
        let rebuilt = filled(found.store(), &kept, people).await.expect("rebuilt");
        assert_eq!(rebuilt.brought_back, 1, "{:?}", rebuilt.lines);
    }

    #[tokio::test]
    async fn the_store_of_another_installation_stays_as_it_is() {
        let (lost, found) = (TestStore::open().await, TestStore::open().await);
        lost.insert(&a_cluster(1)).await;
        for (store, installation) in [(&lost, "this"), (&found, "another")] {
            let mut uow = store.store().begin().await.expect("begun");
            uow.set_fact("installation", installation).await.expect("set");
            uow.commit().await.expect("committed");
        }
        let kept = manifests_of(&lost, |_| {}).await;
        let refused = filled(found.store(), &kept, people(&kept, Path::new("/d")).expect("people")).await.expect_err("refused");
        assert!(refused.to_string().contains("not the one of this data directory"), "{refused:#}");
        let mut hosts = 0;
        let mut look = found.store().look().await.expect("a look");
        look.each_row("host", |_| {
            hosts += 1;
            Ok(())
        })
        .await
        .expect("counted");
        assert_eq!(hosts, 0);
    }

    #[tokio::test]
    async fn a_manifest_of_another_version_is_told_and_left_alone() {
        let (lost, found) = (TestStore::open().await, TestStore::open().await);
        lost.insert(&a_cluster(1)).await;
        let mut kept = manifests_of(&lost, |_| {}).await;
        let people = people(&kept, Path::new("/d")).expect("people");
        kept.manifests[1].1 = kept.manifests[1].1.replace("\"version\":1", "\"version\":9");
        let rebuilt = filled(found.store(), &kept, people).await.expect("rebuilt");
        assert_eq!(rebuilt.brought_back, 0);
        assert!(rebuilt.lines[0].contains("another version"), "{:?}", rebuilt.lines);
    }
}
