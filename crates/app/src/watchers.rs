//! What watchers are doing.

use crate::App;
use moorage_domain::tenant::Actor;
use moorage_domain::{Problem, ProblemCode};
use moorage_operations::WatcherStatus;

impl App {
    /// What each watcher of this server last did, by name: for users of the installation's own project.
    pub fn watchers(&self, actor: &Actor) -> Result<Vec<WatcherStatus>, Problem> {
        if !actor.of_installation {
            return Err(Problem::new(ProblemCode::Forbidden, "Watchers are the business of the installation's own project.")
                .hint("They look after the clusters of every project."));
        }
        Ok(self.parts.board.all())
    }
}
