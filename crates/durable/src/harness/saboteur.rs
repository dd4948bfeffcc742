//! Who disturbs an operation on its way.

use crate::tamper::{Meddling, Tamper};
use async_trait::async_trait;
use moorage_domain::{Problem, ProblemCode, Timestamp};
use moorage_store::{OperationRow, Store};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// What it does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Nothing,
    CrashAt(u32),
    /// Every commit is tried twice: the first time the process is killed.
    CrashAtEverySecond,
    Twice,
    Beside,
    GiveUp {
        step: String,
        after: bool,
    },
    GiveUpAndCrash {
        step: String,
        at: u32,
    },
    GiveUpAndTwice {
        step: String,
    },
    Cancel {
        step: String,
    },
    StopAt {
        step: String,
    },
}

pub(super) struct Saboteur {
    act: Act,
    commits: AtomicU32,
    done: AtomicBool,
    steps: Mutex<Vec<String>>,
    store: Mutex<Option<Store>>,
    pub(super) crashed: Notify,
}

impl Saboteur {
    pub(super) fn idle() -> Arc<Self> {
        Self::new(Act::Nothing)
    }
    pub(super) fn new(act: Act) -> Arc<Self> {
        Arc::new(Self {
            act,
            commits: AtomicU32::new(0),
            done: AtomicBool::new(false),
            steps: Mutex::default(),
            store: Mutex::default(),
            crashed: Notify::new(),
        })
    }
    /// The store of the process that just started.
    pub(super) fn work_on(&self, store: &Store) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store.clone());
    }
    /// Lets go of the store of a process that died.
    pub(super) fn let_go(&self) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
    /// The steps seen, without repetitions.
    pub(super) fn steps(&self) -> Vec<String> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub(super) fn commits(&self) -> u32 {
        self.commits.load(Ordering::Relaxed)
    }
    fn first_time(&self) -> bool {
        !self.done.swap(true, Ordering::Relaxed)
    }
    fn crash(&self) -> bool {
        self.crashed.notify_one();
        true
    }

    async fn cancel(&self, row: &OperationRow) {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(store) = store else { return };
        let mut uow = super::expect("calling off", store.begin().await);
        let asked = super::expect(
            "calling off",
            uow.request_cancel(&row.id, "A saboteur asked.", Timestamp(row.run_at.0.max(row.created_at.0))).await,
        );
        assert!(asked, "an operation on its way can be asked to end");
        super::expect("calling off", uow.commit().await);
    }
}

fn sabotage() -> Problem {
    Problem::new(ProblemCode::HostFailed, "The harness lets this step give up.")
}

#[async_trait]
impl Tamper for Saboteur {
    async fn before_step(&self, row: &OperationRow, step: &str) -> Meddling {
        {
            let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
            if !steps.iter().any(|seen| seen == step) {
                steps.push(step.to_owned());
            }
        }
        match &self.act {
            Act::Twice => Meddling::Twice,
            Act::Beside => Meddling::Beside,
            Act::GiveUp { step: at, after } if at == step && self.first_time() => {
                if *after {
                    Meddling::GiveUpAfter(sabotage())
                } else {
                    Meddling::GiveUpBefore(sabotage())
                }
            }
            Act::GiveUpAndCrash { step: at, .. } if at == step && row.outcome.is_none() => Meddling::GiveUpAfter(sabotage()),
            Act::GiveUpAndTwice { step: at } if at == step && row.outcome.is_none() => Meddling::GiveUpAfter(sabotage()),
            Act::GiveUpAndTwice { .. } => Meddling::Twice,
            Act::Cancel { step: at } if at == step && self.first_time() => {
                self.cancel(row).await;
                Meddling::LookAgain
            }
            Act::StopAt { step: at } if at == step && self.first_time() => {
                self.crashed.notify_one();
                std::future::pending().await
            }
            _ => Meddling::None,
        }
    }

    fn crash_before_commit(&self) -> bool {
        let n = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        match self.act {
            Act::CrashAt(at) | Act::GiveUpAndCrash { at, .. } if n == at => self.crash(),
            Act::CrashAtEverySecond if n % 2 == 1 => self.crash(),
            _ => false,
        }
    }
}
