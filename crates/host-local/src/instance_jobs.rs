//! Work on volumes of instances whose engines do not run. What is begun is remembered for as long as this process lives, or until the
//! instance is started; the start of a host ends and clears what an earlier one had begun.

use crate::machine::Machine;
use crate::problems::{Doing, blocking};
use crate::volumes::{self, jobs};
use moorage_domain::InstanceId;
use moorage_host::{Change, HostResult, JobState, JobWish};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

struct Job {
    name: String,
    state: watch::Receiver<JobState>,
    task: JoinHandle<()>,
}

/// The jobs of one host, one per instance at most.
#[derive(Default)]
pub(crate) struct InstanceJobs {
    begun: Mutex<HashMap<InstanceId, Job>>,
}

impl InstanceJobs {
    /// Begins the job unless it was begun; how far it is. The caller holds the instance's lock.
    pub async fn ensure(&self, machine: &Arc<Machine>, wish: &JobWish, changes: broadcast::Sender<Change>) -> HostResult<JobState> {
        let known = self
            .begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&wish.instance)
            .map(|job| (job.name.clone(), job.state.borrow().clone()));
        match known {
            Some((name, state)) if name == wish.name => return Ok(state),
            Some(_) => self.end(&wish.instance).await,
            None => {}
        }
        let account = machine.account(wish.uid)?;
        let (opened, instance) = (Arc::clone(machine), wish.instance.clone());
        let room = blocking(move || {
            volumes::open(&opened, &instance)?;
            jobs::Room::beside(&opened, opened.place(&instance).volume, account).doing("make room for a job").map(Arc::new)
        })
        .await?;
        let (sender, state) = watch::channel(JobState::Running);
        let (machine, steps, instance) = (Arc::clone(machine), wish.steps.clone(), wish.instance.clone());
        let task = tokio::spawn(async move {
            let ended = match jobs::run(&machine, &room, &steps, "an instance's data directory").await {
                Ok(()) => JobState::Done,
                Err(error) => {
                    tracing::warn!(%instance, problem = %error.problem, detail = error.problem.detail, cause = ?error.cause, "a job failed");
                    JobState::Failed(error.problem)
                }
            };
            let _ = sender.send(ended);
            let _ = changes.send(Change::Instance(instance));
        });
        let job = Job { name: wish.name.clone(), state, task };
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(wish.instance.clone(), job);
        Ok(JobState::Running)
    }

    /// Ends what works on an instance's volume, and forgets it.
    pub async fn end(&self, instance: &InstanceId) {
        let job = self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(instance);
        if let Some(job) = job {
            job.task.abort();
            // Its room goes with it, and whoever works in there.
            let _ = job.task.await;
        }
    }
}
