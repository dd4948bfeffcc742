//! Databases and accounts beside those that an instance was made with.

use crate::character_set;
use crate::database;
use crate::quote::{SQL_MODE, identifier, literal, pattern};
use crate::session::{Session, refuse};
use crate::verifier::is_verifier;
use moorage_domain::cluster::DatabaseSpec;
use moorage_domain::database::{AccountName, AccountSpec, Privileges};
use moorage_domain::parameters::{is_reserved_account, is_reserved_database};
use moorage_domain::secret::Verifier;
use moorage_domain::{Problem, ProblemCode};
use moorage_engine::EngineError;

/// Sessions that were told to end may hold a database for a moment; nothing else does once its accounts are gone.
const PATIENT: &str = "SET SESSION lock_wait_timeout = 20";

/// What an account may do with its database (Globo's wire reference, section 3), and what its clients need to look around in it.
fn granted(privileges: Privileges) -> &'static str {
    match privileges {
        Privileges::Owner => "ALL PRIVILEGES",
        Privileges::ReadWrite => "SELECT, INSERT, UPDATE, DELETE, EXECUTE, SHOW VIEW, CREATE TEMPORARY TABLES, LOCK TABLES",
        Privileges::ReadOnly => "SELECT, EXECUTE, SHOW VIEW",
    }
}

fn account(name: &str) -> String {
    format!("{}@'%'", literal(name))
}

/// Nothing of the engine's own, nor of the administrator's, is ever named in a statement.
fn check(session: &Session, name: &str) -> Result<(), EngineError> {
    if is_reserved_account(name) || name.eq_ignore_ascii_case(session.administrator()) {
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

/// One message with everything that makes an account what it is meant to be.
fn statements(wanted: &AccountSpec, verifier: &Verifier) -> String {
    let (account, password) = (account(&wanted.name), literal(&verifier.0));
    format!(
        "{SQL_MODE};\
         CREATE USER IF NOT EXISTS {account} IDENTIFIED BY PASSWORD {password};\
         ALTER USER {account} IDENTIFIED BY PASSWORD {password} REQUIRE NONE ACCOUNT UNLOCK;\
         REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account};\
         GRANT {} ON {}.* TO {account}",
        granted(wanted.privileges),
        pattern(&wanted.database)
    )
}

pub async fn ensure_database(session: &mut Session, wanted: &DatabaseSpec) -> Result<(), EngineError> {
    let wanted = database::check(wanted).map_err(refuse)?;
    let character_set = wanted.character_set;
    match character_set_of(session, wanted.name).await? {
        None => {
            session.run(format!("{SQL_MODE};CREATE DATABASE IF NOT EXISTS {} CHARACTER SET {character_set}", identifier(wanted.name))).await
        }
        Some(existing) if existing == character_set::stored(character_set) => Ok(()),
        Some(existing) => Err(refuse(Problem::new(
            ProblemCode::EngineRefused,
            format!("A database of that name exists already, in the character set {existing}."),
        ))),
    }
}

pub async fn ensure_account(session: &mut Session, wanted: &AccountSpec, verifier: &Verifier) -> Result<(), EngineError> {
    check(session, &wanted.name)?;
    check_database(&wanted.database)?;
    if !is_verifier(&verifier.0) {
        return Err(refuse(Problem::internal()));
    }
    // Whoever is granted something in a database that is not there gets it once somebody makes it.
    if character_set_of(session, &wanted.database).await?.is_none() {
        return Err(refuse(Problem::new(
            ProblemCode::EngineRefused,
            format!("The engine has no database {:?} any more.", wanted.database),
        )));
    }
    session.run(statements(wanted, verifier)).await
}

/// The character set of a database, as the server calls it; none where there is no such database.
async fn character_set_of(session: &mut Session, name: &str) -> Result<Option<String>, EngineError> {
    let question =
        format!("{SQL_MODE};SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}", literal(name));
    Ok(session.last_row(&question).await?.and_then(|row| row.get(0)))
}

pub async fn ensure_password(session: &mut Session, name: &str, verifier: &Verifier) -> Result<(), EngineError> {
    check(session, name)?;
    if !is_verifier(&verifier.0) {
        return Err(refuse(Problem::internal()));
    }
    session.run(format!("{SQL_MODE};ALTER USER {} IDENTIFIED BY PASSWORD {}", account(name), literal(&verifier.0))).await
}

pub async fn end_sessions(session: &mut Session, name: &str) -> Result<(), EngineError> {
    check(session, name)?;
    session.run(format!("{SQL_MODE};KILL USER {}", account(name))).await
}

/// Whoever is connected is cut off while nobody is let in, and cannot set a password of its own in between.
pub async fn replace_password(session: &mut Session, name: &str, verifier: &Verifier) -> Result<(), EngineError> {
    check(session, name)?;
    if !is_verifier(&verifier.0) {
        return Err(refuse(Problem::internal()));
    }
    let (account, password) = (account(name), literal(&verifier.0));
    session
        .run(format!(
            "{SQL_MODE};ALTER USER {account} ACCOUNT LOCK;KILL USER {account};\
             ALTER USER {account} IDENTIFIED BY PASSWORD {password} ACCOUNT UNLOCK"
        ))
        .await
}

pub async fn account_name(session: &mut Session, name: &str) -> Result<AccountName, EngineError> {
    // What names a removed account as its definer would run with the rights of whoever gets that name next.
    let (user, definer) = (literal(name), literal(&format!("{name}@%")));
    let question = format!(
        "{SQL_MODE};SELECT CASE WHEN EXISTS (SELECT 1 FROM mysql.global_priv WHERE User = {user}) THEN 'account' \
         WHEN EXISTS (SELECT 1 FROM information_schema.ROUTINES WHERE DEFINER = {definer}) \
         OR EXISTS (SELECT 1 FROM information_schema.VIEWS WHERE DEFINER = {definer}) \
         OR EXISTS (SELECT 1 FROM information_schema.TRIGGERS WHERE DEFINER = {definer}) \
         OR EXISTS (SELECT 1 FROM information_schema.EVENTS WHERE DEFINER = {definer}) THEN 'definer' ELSE 'free' END"
    );
    match session.last_row(&question).await?.and_then(|row| row.get::<String, _>(0)).as_deref() {
        Some("free") => Ok(AccountName::Free),
        Some("definer") => Ok(AccountName::Definer),
        _ => Ok(AccountName::Account),
    }
}

/// Who is connected as an account that is dropped stays so: it is dropped first, so that nobody comes in behind.
pub async fn ensure_account_absent(session: &mut Session, account_spec: &AccountSpec) -> Result<(), EngineError> {
    check(session, &account_spec.name)?;
    let account = account(&account_spec.name);
    session.run(format!("{SQL_MODE};DROP USER IF EXISTS {account};KILL USER {account}")).await
}

pub async fn ensure_database_absent(session: &mut Session, name: &str) -> Result<(), EngineError> {
    check_database(name)?;
    session.run(format!("{SQL_MODE};{PATIENT};DROP DATABASE IF EXISTS {}", identifier(name))).await
}

pub async fn database_sizes(session: &mut Session) -> Result<Vec<(String, u64)>, EngineError> {
    session
        .all(
            "SELECT s.SCHEMA_NAME, CAST(COALESCE(SUM(t.DATA_LENGTH + t.INDEX_LENGTH + t.DATA_FREE), 0) AS UNSIGNED) \
             FROM information_schema.SCHEMATA s LEFT JOIN information_schema.TABLES t ON t.TABLE_SCHEMA = s.SCHEMA_NAME \
             WHERE s.SCHEMA_NAME NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') GROUP BY s.SCHEMA_NAME",
        )
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_quote_whatever_they_are_given_and_grant_what_was_asked_for() {
        let wanted = AccountSpec { name: String::from("o'w\\"), database: String::from("d`_a"), privileges: Privileges::ReadOnly };
        let statements = statements(&wanted, &Verifier(String::from("*00")));
        assert!(statements.contains("CREATE USER IF NOT EXISTS 'o''w\\\\'@'%' IDENTIFIED BY PASSWORD '*00';"), "{statements}");
        assert!(statements.contains("REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'o''w\\\\'@'%';"), "{statements}");
        assert!(statements.ends_with("GRANT SELECT, EXECUTE, SHOW VIEW ON `d``\\_a`.* TO 'o''w\\\\'@'%'"), "{statements}");
    }
}
