//! Databases and accounts beside those that an instance was made with.
//!
//! A database belongs to a group of its own, and so does what its owners make in it: they act as that group from their login on. Any of
//! them can be removed, and no table goes with it. Writers and readers are groups too, whose rights on what owners will make are
//! given once.

use crate::database;
use crate::quote::{identifier, literal};
use crate::ready;
use crate::session::{Session, refuse};
use crate::template::OF_OUR_OWN;
use crate::verifier::is_verifier;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::database::{AccountName, AccountSpec, Privileges};
use moorage_domain::parameters::{is_reserved_account, is_reserved_database};
use moorage_domain::secret::Verifier;
use moorage_domain::{Problem, ProblemCode};
use moorage_engine::EngineError;
use std::fmt::Write as _;

/// How long a session that was told to end may take, in milliseconds.
const ENDING_MS: u32 = 5000;

/// The groups of a database; its number is the server's own, which a name that is given again does not get again.
pub(crate) struct Groups {
    owners: String,
    writers: String,
    readers: String,
}

impl Groups {
    fn of(number: &str) -> Self {
        let group = |what: &str| format!("moorage_{what}_{number}");
        Self { owners: group("owners"), writers: group("writers"), readers: group("readers") }
    }
    fn for_privileges(&self, privileges: Privileges) -> &str {
        match privileges {
            Privileges::Owner => &self.owners,
            Privileges::ReadWrite => &self.writers,
            Privileges::ReadOnly => &self.readers,
        }
    }
    fn all(&self) -> [&str; 3] {
        [&self.owners, &self.writers, &self.readers]
    }
}

/// A database as the server has it.
pub(crate) struct Found {
    number: String,
    encoding: String,
    locale: String,
    owner: String,
}

pub(crate) async fn find(session: &Session, name: &str) -> Result<Option<Found>, EngineError> {
    let question = format!(
        "SELECT oid, pg_encoding_to_char(encoding), datcollate, pg_get_userbyid(datdba) FROM pg_database WHERE datname = {}",
        literal(name)
    );
    let text = |row: &tokio_postgres::SimpleQueryRow, column: usize| String::from(row.get(column).unwrap_or_default());
    let rows = session.rows(&question).await?;
    Ok(rows.first().map(|row| Found { number: text(row, 0), encoding: text(row, 1), locale: text(row, 2), owner: text(row, 3) }))
}

/// Nothing of the engine's own, nor of ours, is ever named in a statement.
fn check(name: &str) -> Result<(), EngineError> {
    if is_reserved_account(name) {
        return Err(refuse(Problem::invalid("user", format!("The name {name:?} is reserved.")).hint("Choose another name.")));
    }
    Ok(())
}

fn check_database(name: &str) -> Result<(), EngineError> {
    if is_reserved_database(name) {
        return Err(refuse(Problem::invalid("name", format!("The name {name:?} is reserved.")).hint("Choose another name.")));
    }
    Ok(())
}

pub(crate) fn missing(name: &str) -> EngineError {
    refuse(Problem::new(ProblemCode::EngineRefused, format!("The engine has no database {name:?} any more.")))
}

async fn has_role(session: &Session, name: &str) -> Result<bool, EngineError> {
    Ok(!session.rows(&format!("SELECT 1 FROM pg_roles WHERE rolname = {}", literal(name))).await?.is_empty())
}

/// What the groups may do with what is in the database's schemas, and with what owners will make there.
fn rights(groups: &Groups, schemas: &[String]) -> String {
    let [owners, writers, readers] = groups.all().map(identifier);
    let mut statements = String::new();
    for schema in schemas.iter().map(|schema| identifier(schema)) {
        let _ = write!(
            statements,
            "GRANT USAGE ON SCHEMA {schema} TO {writers}, {readers};\
             GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {readers};\
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {writers};\
             GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {readers};\
             GRANT SELECT, USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO {writers};"
        );
    }
    let future = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owners} GRANT");
    let _ = write!(
        statements,
        "{future} USAGE ON SCHEMAS TO {writers}, {readers};\
         {future} SELECT ON TABLES TO {readers};\
         {future} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {writers};\
         {future} SELECT ON SEQUENCES TO {readers};\
         {future} SELECT, USAGE, UPDATE ON SEQUENCES TO {writers};"
    );
    statements
}

/// Makes sure the database has its groups and belongs to them; what belonged to an account that owned it is theirs then.
pub(crate) async fn ensure_groups(session: &Session, name: &str, found: &Found) -> Result<Groups, EngineError> {
    let groups = Groups::of(&found.number);
    if found.owner == groups.owners {
        return Ok(groups);
    }
    let known = session.rows(&format!("SELECT rolname FROM pg_roles WHERE rolname LIKE 'moorage\\_%\\_{}'", found.number)).await?;
    let known: Vec<&str> = known.iter().filter_map(|row| row.get(0)).collect();
    let mut statements = String::new();
    for group in groups.all().into_iter().filter(|group| !known.contains(group)) {
        let _ = write!(statements, "CREATE ROLE {} NOLOGIN;", identifier(group));
    }
    let database = identifier(name);
    let [owners, writers, readers] = groups.all().map(identifier);
    let _ = write!(
        statements,
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC;GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {writers}, {readers};"
    );
    session.rows(&statements).await?;

    let inside = session.within(name).await?;
    let schemas = inside.rows("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'").await?;
    let schemas: Vec<String> = schemas.iter().filter_map(|row| row.get(0)).map(String::from).collect();
    let mut statements = rights(&groups, &schemas);
    if !is_reserved_account(&found.owner) {
        let owner = identifier(&found.owner);
        let _ = write!(
            statements,
            "REASSIGN OWNED BY {owner} TO {owners};GRANT {owners} TO {owner};ALTER ROLE {owner} IN DATABASE {database} SET role = {owners};"
        );
    }
    // Last, and in the same transaction: whoever finds the database in the group's hands finds the rest done.
    let _ = write!(statements, "ALTER DATABASE {database} OWNER TO {owners}");
    inside.rows(&statements).await?;
    Ok(groups)
}

pub async fn ensure_database(session: &Session, wanted: &DatabaseSpec) -> Result<(), EngineError> {
    let wanted = database::check(wanted).map_err(refuse)?;
    let mut found = find(session, wanted.name).await?;
    if found.is_none() {
        if !ready::take(session, &wanted).await? {
            session.rows(&crate::session::creation_statement(&wanted)).await?;
        }
        found = find(session, wanted.name).await?;
    }
    let found = found.ok_or_else(|| missing(wanted.name))?;
    if found.encoding != wanted.encoding || crate::encoding::locale(&found.locale) != Some(wanted.locale) {
        return Err(refuse(Problem::new(
            ProblemCode::EngineRefused,
            format!("A database of that name exists already, in the encoding {} and the locale {}.", found.encoding, found.locale),
        )));
    }
    ensure_groups(session, wanted.name, &found).await.map(drop)
}

pub async fn ensure_account(session: &Session, wanted: &AccountSpec, verifier: &Verifier) -> Result<(), EngineError> {
    check(&wanted.name)?;
    check_database(&wanted.database)?;
    if !is_verifier(&verifier.0) {
        return Err(refuse(Problem::internal()));
    }
    let found = find(session, &wanted.database).await?.ok_or_else(|| missing(&wanted.database))?;
    let groups = ensure_groups(session, &wanted.database, &found).await?;
    let memberships = session
        .rows(&format!(
            "SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles o ON o.oid = m.member \
             WHERE o.rolname = {}",
            literal(&wanted.name)
        ))
        .await?;
    let verb = if has_role(session, &wanted.name).await? { "ALTER" } else { "CREATE" };
    let memberships: Vec<&str> = memberships.iter().filter_map(|row| row.get(0)).collect();
    session.rows(&statements(wanted, verifier, &groups, verb, &memberships)).await.map(drop)
}

/// One message with everything that makes an account what it is meant to be.
fn statements(wanted: &AccountSpec, verifier: &Verifier, groups: &Groups, verb: &str, memberships: &[&str]) -> String {
    let (account, database) = (identifier(&wanted.name), identifier(&wanted.database));
    let group = groups.for_privileges(wanted.privileges);
    let mut statements = format!(
        "{verb} ROLE {account} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS INHERIT CONNECTION LIMIT -1 PASSWORD {};",
        literal(&verifier.0)
    );
    for other in memberships.iter().filter(|other| **other != group) {
        let _ = write!(statements, "REVOKE {} FROM {account};", identifier(other));
    }
    let _ = write!(statements, "GRANT {} TO {account};", identifier(group));
    let _ = match wanted.privileges {
        Privileges::Owner => write!(statements, "ALTER ROLE {account} IN DATABASE {database} SET role = {}", identifier(group)),
        _ => write!(statements, "ALTER ROLE {account} IN DATABASE {database} RESET role"),
    };
    statements
}

pub async fn ensure_password(session: &Session, name: &str, verifier: &Verifier) -> Result<(), EngineError> {
    check(name)?;
    if !is_verifier(&verifier.0) {
        return Err(refuse(Problem::internal()));
    }
    session.rows(&format!("ALTER ROLE {} PASSWORD {}", identifier(name), literal(&verifier.0))).await.map(drop)
}

pub async fn end_sessions(session: &Session, name: &str) -> Result<(), EngineError> {
    check(name)?;
    let ended = session
        .rows(&format!("SELECT pg_terminate_backend(pid, {ENDING_MS}) FROM pg_stat_activity WHERE usename = {}", literal(name)))
        .await?;
    match ended.iter().all(|row| row.get(0) == Some("t")) {
        true => Ok(()),
        // It may have ended by itself in between, which is not said differently.
        false if session.rows(&format!("SELECT 1 FROM pg_stat_activity WHERE usename = {}", literal(name))).await?.is_empty() => Ok(()),
        false => Err(EngineError::unreachable("a session does not end")),
    }
}

/// Whoever is connected is cut off while nobody is let in, and cannot set a password of its own in between.
pub async fn replace_password(session: &Session, name: &str, verifier: &Verifier) -> Result<(), EngineError> {
    check(name)?;
    if !is_verifier(&verifier.0) {
        return Err(refuse(Problem::internal()));
    }
    let account = identifier(name);
    session.rows(&format!("ALTER ROLE {account} NOLOGIN")).await?;
    end_sessions(session, name).await?;
    session.rows(&format!("ALTER ROLE {account} LOGIN PASSWORD {}", literal(&verifier.0))).await.map(drop)
}

/// Owners can let everybody, or accounts of other databases, in. (Not by making them members of themselves: since PostgreSQL 15 no role may.)
pub async fn shut_out_others(session: &Session, database: &str, accounts: &[String]) -> Result<(), EngineError> {
    check_database(database)?;
    accounts.iter().try_for_each(|account| check(account))?;
    // Its owners may have dropped it.
    let Some(found) = find(session, database).await? else { return Ok(()) };
    let groups = ensure_groups(session, database, &found).await?;
    let mut strangers = Vec::new();
    for _ in 0..2 {
        strangers.clear();
        for grantee in grantees(session, database).await? {
            let [name, role] = [identifier(database), if grantee.is_empty() { "PUBLIC".to_owned() } else { identifier(&grantee) }];
            if grantee == groups.owners {
                continue;
            }
            // What somebody passed on goes with the right to do so.
            let what = if accounts.contains(&grantee) || groups.all().contains(&grantee.as_str()) {
                "GRANT OPTION FOR ALL"
            } else {
                strangers.push(grantee);
                "ALL"
            };
            session.rows(&format!("REVOKE {what} ON DATABASE {name} FROM {role} CASCADE")).await?;
        }
        if strangers.is_empty() {
            break;
        }
    }
    if !strangers.is_empty() {
        return Err(EngineError::unreachable("somebody who was let in by the owner is not out yet"));
    }
    let inside = format!(
        "FROM pg_stat_activity a JOIN pg_roles r ON r.rolname = a.usename WHERE a.datname = {} AND NOT r.rolsuper",
        literal(database)
    );
    session.rows(&format!("SELECT pg_terminate_backend(a.pid, {ENDING_MS}) {inside}")).await?;
    match session.rows(&format!("SELECT 1 {inside}")).await?.is_empty() {
        true => Ok(()),
        false => Err(EngineError::unreachable("a session does not end")),
    }
}

/// Whom rights on a database were given to; an empty name is everybody.
async fn grantees(session: &Session, database: &str) -> Result<Vec<String>, EngineError> {
    let rows = session
        .rows(&format!(
            "SELECT DISTINCT coalesce(r.rolname, '') FROM pg_database d, aclexplode(d.datacl) x LEFT JOIN pg_roles r ON r.oid = x.grantee \
             WHERE d.datname = {}",
            literal(database)
        ))
        .await?;
    Ok(rows.iter().filter_map(|row| row.get(0)).map(String::from).collect())
}

pub async fn account_name(session: &Session, name: &str) -> Result<AccountName, EngineError> {
    Ok(if has_role(session, name).await? { AccountName::Account } else { AccountName::Free })
}

/// What belongs to the account stays its database's. Nobody comes in behind those whose sessions are ended.
pub async fn ensure_account_absent(session: &Session, account: &AccountSpec) -> Result<(), EngineError> {
    check(&account.name)?;
    check_database(&account.database)?;
    if !has_role(session, &account.name).await? {
        return Ok(());
    }
    let name = identifier(&account.name);
    session.rows(&format!("ALTER ROLE {name} NOLOGIN")).await?;
    end_sessions(session, &account.name).await?;
    if let Some(found) = find(session, &account.database).await? {
        open_up(session, &account.database).await?;
        let groups = ensure_groups(session, &account.database, &found).await?;
        let inside = session.within(&account.database).await?;
        inside.rows(&format!("REASSIGN OWNED BY {name} TO {};DROP OWNED BY {name}", identifier(&groups.owners))).await?;
    }
    drop_role(session, &account.name).await
}

/// Owners of other databases may have given it something there: rights that nobody asked for keep nobody from going.
async fn drop_role(session: &Session, name: &str) -> Result<(), EngineError> {
    let role = identifier(name);
    let statement = format!("DROP ROLE IF EXISTS {role}");
    match session.rows(&statement).await {
        Err(refused) if !refused.passing => {}
        done => return done.map(drop),
    }
    let databases = session.rows("SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template0'").await?;
    for database in databases.iter().filter_map(|row| row.get(0)) {
        session.within(database).await?.rows(&format!("DROP OWNED BY {role}")).await?;
    }
    session.rows(&statement).await.map(drop)
}

/// What an owner may have set so that nobody connects to its database, or nobody drops it.
async fn open_up(session: &Session, name: &str) -> Result<(), EngineError> {
    session.rows(&format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true IS_TEMPLATE false", identifier(name))).await.map(drop)
}

pub async fn ensure_database_absent(session: &Session, name: &str) -> Result<(), EngineError> {
    check_database(name)?;
    if find(session, name).await?.is_some() {
        open_up(session, name).await?;
        session.rows(&format!("DROP DATABASE {} WITH (FORCE)", identifier(name))).await?;
    }
    // Also those of one that was dropped before somebody was interrupted.
    let left = session
        .rows(
            "SELECT rolname FROM pg_roles WHERE rolname ~ '^moorage_(owners|writers|readers)_[0-9]+$' \
             AND substring(rolname from '[0-9]+$')::oid NOT IN (SELECT oid FROM pg_database)",
        )
        .await?;
    for group in left.iter().filter_map(|row| row.get(0)) {
        drop_role(session, group).await?;
    }
    Ok(())
}

pub async fn database_sizes(session: &Session) -> Result<Vec<(String, u64)>, EngineError> {
    let rows = session
        .rows(&format!("SELECT datname, pg_database_size(oid) FROM pg_database WHERE NOT datistemplate AND NOT {OF_OUR_OWN}"))
        .await?;
    let size = |row: &tokio_postgres::SimpleQueryRow| Some((String::from(row.get(0)?), row.get(1)?.parse().ok()?));
    Ok(rows.iter().filter_map(size).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_quote_whatever_they_are_given_and_give_what_was_asked_for() {
        let groups = Groups::of("16385");
        let wanted = |privileges| AccountSpec { name: String::from("o'w\"n"), database: String::from("d\"b"), privileges };
        let verifier = Verifier(String::from("SCRAM"));
        let owner = statements(&wanted(Privileges::Owner), &verifier, &groups, "CREATE", &["pg_monitor"]);
        assert!(owner.starts_with("CREATE ROLE \"o'w\"\"n\" LOGIN NOSUPERUSER"), "{owner}");
        assert!(owner.contains("REVOKE \"pg_monitor\" FROM \"o'w\"\"n\";"), "{owner}");
        assert!(owner.ends_with("IN DATABASE \"d\"\"b\" SET role = \"moorage_owners_16385\""), "{owner}");
        let reader = statements(&wanted(Privileges::ReadOnly), &verifier, &groups, "ALTER", &["moorage_readers_16385"]);
        assert!(!reader.contains("REVOKE") && reader.contains("GRANT \"moorage_readers_16385\" TO"), "{reader}");
        assert!(reader.ends_with("RESET role"), "{reader}");
    }

    #[test]
    fn readers_are_given_nothing_but_reading() {
        let groups = Groups::of("7");
        let rights = rights(&groups, &[String::from("pub\"lic")]);
        for statement in rights.split(';').filter(|statement| statement.contains("moorage_readers_7\"") && !statement.contains("writers")) {
            assert!(!statement.contains("INSERT") && !statement.contains("UPDATE"), "{statement}");
        }
        assert!(rights.contains("ON ALL TABLES IN SCHEMA \"pub\"\"lic\" TO \"moorage_readers_7\""));
    }
}
