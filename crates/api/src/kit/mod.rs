//! What every family needs and none owns: bodies, queries, forms, and the exchange around a handler.

pub(crate) mod describe;
pub(crate) mod exchange;
pub(crate) mod form;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod parts;
pub(crate) mod query;
pub(crate) mod refusal;

use crate::ApiOptions;
use moorage_app::App;
use moorage_domain::Timestamp;
use std::sync::Arc;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct Kit {
    /// The one door.
    pub(crate) app: App,
    /// How to behave.
    pub(crate) options: Arc<ApiOptions>,
}

impl Kit {
    pub(crate) fn new(app: App, mut options: ApiOptions) -> Self {
        options.public_base = options.public_base.map(|base| base.trim_end_matches('/').to_owned()).filter(|base| !base.is_empty());
        Self { app, options: Arc::new(options) }
    }
    /// Now, by the clock handed in.
    pub(crate) fn now(&self) -> Timestamp {
        self.options.clock.as_ref().map_or_else(|| self.app.now(), |clock| clock())
    }
}
