//! Operations on databases, as those see them who know nothing of clusters; and waiting for one.

use crate::catalogue::Numbered;
use crate::command::{ListTasks, MOST_ROWS};
use crate::view::TaskView;
use crate::{App, problem};
use moorage_domain::operation::OperationStatus;
use moorage_domain::tenant::Actor;
use moorage_domain::{OperationId, Problem};
use moorage_store::{Operations, TaskFilter, Tasks};
use std::time::Duration;
use tokio::time::Instant;

/// How often an operation is looked at that somebody waits for: first after this time, and up to this time apart.
const LOOKS: (Duration, Duration) = (Duration::from_millis(3), Duration::from_millis(100));

impl App {
    /// A page of the operations on the databases that the caller may see, the newest first, and how many there are.
    pub async fn tasks(&self, actor: &Actor, list: &ListTasks) -> Result<(Vec<TaskView>, u64), Problem> {
        let mut look = self.parts.store.look().await.map_err(problem::store)?;
        let sight = self.sight(&mut look, actor).await?;
        let ListTasks { operation, database_name, status, offset, limit } = list.clone();
        let filter = TaskFilter { operation, status, database_name };
        let (found, total) = look.tasks(&sight, &filter, offset, limit.min(MOST_ROWS)).await.map_err(problem::store)?;
        let mut views = Vec::with_capacity(found.len());
        for task in found {
            views.push(TaskView {
                number: Numbered::Operation.of(&mut look, task.operation.id.as_str()).await?,
                database_number: Some(Numbered::Database.of(&mut look, task.database.as_str()).await?).filter(|number| *number > 0),
                database: task.named,
                operation: task.operation,
            });
        }
        Ok((views, total))
    }

    /// Waits until an operation has ended, for so long at most: how it ended and why not well; none while it goes on.
    pub async fn await_operation(&self, id: &OperationId, limit: Duration) -> Result<Option<(OperationStatus, Option<Problem>)>, Problem> {
        let begun = Instant::now();
        let mut pause = LOOKS.0;
        loop {
            let row = {
                let mut glance = self.parts.store.glance().await.map_err(problem::store)?;
                glance.operation_row(id).await.map_err(problem::store)?
            };
            match row {
                Some(row) if row.status.ended() => return Ok(Some((row.status, row.problem))),
                // It waits for a person.
                Some(row) if row.status == OperationStatus::NeedsOperator => return Ok(None),
                _ if begun.elapsed() + pause > limit => return Ok(None),
                _ => tokio::time::sleep(pause).await,
            }
            pause = (pause * 3 / 2).min(LOOKS.1);
        }
    }
}
