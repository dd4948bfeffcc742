//! Parameter groups, and what engines apply.

use moorage_app::ParameterGroup;
use moorage_domain::parameter::{AppliedParameters, Parameter};
use schemars::JsonSchema;
use serde::Serialize;

/// A group of parameters.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ParameterGroupBody<'a> {
    id: &'a str,
    name: &'a str,
    engine: &'static str,
    major_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Vec<ParameterBody<'a>>>,
}

#[derive(Serialize, JsonSchema)]
struct ParameterBody<'a> {
    name: &'a str,
    default_value: Option<&'a str>,
    modifiable: bool,
    description: Option<&'a str>,
}

/// A group, with its parameters where it is shown by itself.
pub(crate) fn parameter_group<'a>(group: &'a ParameterGroup, parameters: Option<&'a [Parameter]>) -> ParameterGroupBody<'a> {
    let parameter = |parameter: &'a Parameter| ParameterBody {
        name: &parameter.name,
        default_value: parameter.default_value.as_deref(),
        modifiable: parameter.modifiable,
        description: parameter.description.as_deref(),
    };
    ParameterGroupBody {
        id: &group.id,
        name: &group.name,
        engine: group.engine.as_str(),
        major_version: &group.major,
        parameters: parameters.map(|parameters| parameters.iter().map(parameter).collect()),
    }
}

/// What a cluster's engine applies.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AppliedParametersBody<'a> {
    read_at: String,
    items: Vec<AppliedParameterBody<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct AppliedParameterBody<'a> {
    name: &'a str,
    applied_value: Option<&'a str>,
    default_value: Option<&'a str>,
    unit: Option<&'a str>,
    data_type: &'static str,
    allowed_values: Option<&'a str>,
    needs_restart: bool,
    pending_restart: bool,
    modifiable: bool,
    description: Option<&'a str>,
}

/// What a cluster's engine applied when it was last asked.
pub(crate) fn applied_parameters(applied: &AppliedParameters) -> AppliedParametersBody<'_> {
    AppliedParametersBody { read_at: applied.read_at.rfc3339(), items: applied.parameters.iter().map(applied_parameter).collect() }
}

fn applied_parameter(parameter: &Parameter) -> AppliedParameterBody<'_> {
    AppliedParameterBody {
        name: &parameter.name,
        applied_value: parameter.applied_value.as_deref(),
        default_value: parameter.default_value.as_deref(),
        unit: parameter.unit.as_deref(),
        data_type: parameter.data_type.as_str(),
        allowed_values: parameter.allowed_values.as_deref(),
        needs_restart: parameter.needs_restart,
        pending_restart: parameter.pending_restart,
        modifiable: parameter.modifiable,
        description: parameter.description.as_deref(),
    }
}
