//! Users: the people and programs that sign in, and what they may do.

use crate::command::MOST_ROWS;
use crate::engine_versions::digest_id;
use crate::{App, fresh, now, problem};
use moorage_domain::tenant::{Actor, Role, User};
use moorage_domain::{Problem, ProblemCode, UserId};
use moorage_store::{Accounts, NewAccount, Rows};
use secrecy::SecretString;

/// A user to be made.
#[derive(Debug)]
pub struct CreateUser {
    /// Name, unique in the installation.
    pub name: String,
    /// E-mail address; signs in as well as the name does.
    pub email: Option<String>,
    /// Project, by identifier or name; the caller's own where none is given.
    pub project: Option<String>,
    /// What it may do.
    pub role: Role,
    /// Its first password.
    pub password: SecretString,
}

/// What is to change about a user.
#[derive(Clone, Debug, Default)]
pub struct ChangeUser {
    /// Another role.
    pub role: Option<Role>,
    /// Another e-mail address.
    pub email: Option<String>,
    /// The [`user_mark`] the caller has read: the change is refused if the user was changed since.
    pub unchanged_since: Option<String>,
}

fn not_found() -> Problem {
    Problem::new(ProblemCode::UserNotFound, "There is no such user.").hint("List the users to see which there are.")
}

/// A user the actor may see: itself, and those of the projects it administers. `me` is the actor.
pub(crate) async fn find(rows: &mut impl Rows, actor: &Actor, id_or_name: &str) -> Result<User, Problem> {
    let wanted = if id_or_name == "me" { actor.user.as_str() } else { id_or_name };
    let found = rows.user(wanted).await.map_err(problem::store)?;
    found.filter(|user| user.id == actor.user || actor.administers(&user.project)).ok_or_else(not_found)
}

fn administers(actor: &Actor, user: &User) -> Result<(), Problem> {
    if actor.administers(&user.project) {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::Forbidden, "Users are managed by the administrators of their project.").hint("Ask an administrator."))
}

/// The name of a user or project: lower-case letters, digits, dots, dashes and underscores, a letter first.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if (2..=64).contains(&name.len()) && name.as_bytes()[0].is_ascii_lowercase() && name.bytes().all(plain) && name != "me" {
        return Ok(());
    }
    Err(Problem::invalid("name", "A name has 2 to 64 lower-case letters, digits, dots, dashes or underscores and begins with a letter."))
}

fn check_email(email: &str) -> Result<(), Problem> {
    let (before, after) = email.split_once('@').unwrap_or_default();
    let plain = email.len() <= 254 && email.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if plain && !before.is_empty() && !after.is_empty() && !after.contains('@') {
        return Ok(());
    }
    Err(Problem::invalid("email", "That is not an e-mail address."))
}

impl App {
    /// Users the caller may see, by name: itself, and those of the projects it administers.
    pub async fn users(&self, actor: &Actor, offset: u64, limit: u64) -> Result<Vec<User>, Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let limit = limit.min(MOST_ROWS);
        match (actor.administers_installation(), actor.role) {
            (true, _) => look.users(None, offset, limit).await.map_err(problem::store),
            (false, Role::Administrator) => look.users(Some(&actor.project), offset, limit).await.map_err(problem::store),
            _ if offset > 0 => Ok(Vec::new()),
            _ => Ok(look.user(actor.user.as_str()).await.map_err(problem::store)?.into_iter().collect()),
        }
    }

    /// One user.
    pub async fn user(&self, actor: &Actor, id_or_name: &str) -> Result<User, Problem> {
        find(&mut self.parts.store.look().await.map_err(problem::store)?, actor, id_or_name).await
    }

    /// Makes a user.
    pub async fn create_user(&self, actor: &Actor, new: CreateUser) -> Result<User, Problem> {
        check_name(&new.name)?;
        let email = new.email.unwrap_or_else(|| format!("{}@localhost", new.name));
        check_email(&email)?;
        let project = match &new.project {
            None => actor.project.clone(),
            Some(project) => crate::projects::find(&mut self.parts.store.look().await.map_err(problem::store)?, actor, project).await?.id,
        };
        if !actor.administers(&project) {
            return Err(Problem::new(ProblemCode::Forbidden, "Users are made by the administrators of their project.")
                .hint("Ask an administrator."));
        }
        let password_hash = self.hash_of(&new.password).await?;
        let user = User { id: UserId::from_bits(fresh()), project, name: new.name, email, role: new.role, created_at: now() };
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        // It may have ended while the password was hashed.
        crate::projects::find(&mut uow, actor, user.project.as_str()).await?;
        // A name that is somebody's e-mail address (or the other way round) would sign in either.
        for text in [&user.name, &user.email] {
            if uow.signing_in(text).await.map_err(problem::store)?.is_some() {
                return Err(Problem::new(ProblemCode::NameTaken, "A user of that name or e-mail address already exists.")
                    .hint("Choose another name, or change that user: `moorage user change NAME`.")
                    .field("name"));
            }
        }
        let account = NewAccount {
            id: &user.id,
            project: &user.project,
            name: &user.name,
            email: &user.email,
            password_hash: &password_hash,
            role: user.role,
        };
        uow.insert_account(&account, user.created_at).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)?;
        Ok(user)
    }

    /// Changes a user's role or e-mail address.
    pub async fn change_user(&self, actor: &Actor, id_or_name: &str, change: ChangeUser) -> Result<User, Problem> {
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let mut user = find(&mut uow, actor, id_or_name).await?;
        unchanged(&user, change.unchanged_since.as_deref())?;
        if let Some(role) = change.role.filter(|role| *role != user.role) {
            administers(actor, &user)?;
            keep_an_administrator(&mut uow, &user).await?;
            uow.set_role(&user.id, role).await.map_err(problem::store)?;
            user.role = role;
        }
        if let Some(email) = change.email.filter(|email| *email != user.email) {
            check_email(&email)?;
            if uow.signing_in(&email).await.map_err(problem::store)?.is_some() {
                return Err(Problem::new(ProblemCode::NameTaken, "Somebody else has that e-mail address.").field("email"));
            }
            uow.set_email(&user.id, &email).await.map_err(problem::store)?;
            user.email = email;
        }
        uow.commit().await.map_err(problem::store)?;
        Ok(user)
    }

    /// Gives a user another password and ends its tokens. Whoever changes their own proves that they know the present one.
    pub async fn change_password(
        &self,
        actor: &Actor,
        id_or_name: &str,
        current: Option<&SecretString>,
        password: &SecretString,
    ) -> Result<(), Problem> {
        let user = self.user(actor, id_or_name).await?;
        if user.id == actor.user {
            let Some(current) = current else {
                return Err(Problem::invalid("current", "Your present password is needed to change it."));
            };
            // By the same way as a login, so that guessing is as slow.
            self.authenticate_password(&user.name, current).await.map_err(|problem| match problem.code {
                ProblemCode::Unauthenticated => Problem::invalid("current", "That is not your present password."),
                _ => problem,
            })?;
        } else {
            administers(actor, &user)?;
        }
        let hash = self.hash_of(password).await?;
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let user = find(&mut uow, actor, id_or_name).await?;
        uow.set_password(&user.id, &hash).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)
    }

    /// Removes a user with its credentials; what it made stays.
    pub async fn remove_user(&self, actor: &Actor, id_or_name: &str, unchanged_since: Option<&str>) -> Result<(), Problem> {
        let mut uow = self.parts.store.begin().await.map_err(problem::store)?;
        let user = find(&mut uow, actor, id_or_name).await?;
        unchanged(&user, unchanged_since)?;
        administers(actor, &user)?;
        keep_an_administrator(&mut uow, &user).await?;
        uow.remove_account(&user.id).await.map_err(problem::store)?;
        uow.commit().await.map_err(problem::store)
    }
}

/// What a user is, as a mark that changes whenever that does.
pub fn user_mark(user: &User) -> String {
    digest_id(&format!("{} {} {} {}", user.id, user.name, user.email, user.role.as_str()))
}

fn unchanged(user: &User, mark: Option<&str>) -> Result<(), Problem> {
    if mark.is_none_or(|mark| mark == user_mark(user)) {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::PreconditionFailed, format!("The user '{}' was changed since you read it.", user.name))
        .hint("Read it again, and send your change with its new ETag if it still makes sense; `moorage audit list` says who changed it."))
}

/// Refuses to take away a project's only administrator.
async fn keep_an_administrator(rows: &mut impl Rows, user: &User) -> Result<(), Problem> {
    if user.role == Role::Administrator && rows.administrators(&user.project).await.map_err(problem::store)? <= 1 {
        return Err(Problem::new(ProblemCode::LastAdministrator, format!("'{}' is the only administrator of the project.", user.name))
            .hint("Make somebody else an administrator first."));
    }
    Ok(())
}
