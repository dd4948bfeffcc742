//! Identifiers on the wire: clusters, groups and volumes keep ours; a request is an operation written `req-<uuid>`.

use moorage_domain::OperationId;

/// An operation as the request it is to the caller.
pub(crate) fn request_id(operation: &OperationId) -> String {
    match uuid::Uuid::parse_str(operation.as_str()) {
        Ok(uuid) => format!("req-{uuid}"),
        Err(_) => format!("req-{operation}"),
    }
}

/// The operation behind a request id, with or without dashes; none if it is not of that form.
pub(crate) fn operation_id(request_id: &str) -> Option<String> {
    let digits = request_id.strip_prefix("req-")?.to_ascii_lowercase();
    let dashed = digits.len() == 36 && [8, 13, 18, 23].iter().all(|at| digits.as_bytes().get(*at) == Some(&b'-'));
    let digits = if dashed { digits.replace('-', "") } else { digits };
    OperationId::parse(&digits).ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_request_ids_are_read() {
        assert_eq!(operation_id("req-4f668846-8a3d-49f1-8111-451ebccf445c").as_deref(), Some("4f6688468a3d49f18111451ebccf445c"));
        assert_eq!(operation_id("req-4f6688468a3d49f18111451ebccf445c").as_deref(), Some("4f6688468a3d49f18111451ebccf445c"));
        for bad in ["", "req-", "4f6688468a3d49f18111451ebccf445c", "req-4f66", "req-4f66-88468a3d49f18111451ebccf445c", "req-../x"] {
            assert_eq!(operation_id(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_operation_comes_back_from_its_request_id(bits in any::<u128>()) {
            let id = OperationId::from_bits(bits);
            prop_assert_eq!(operation_id(&request_id(&id)), Some(id.as_str().to_owned()));
        }
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC*") {
            operation_id(&text);
        }
    }
}
