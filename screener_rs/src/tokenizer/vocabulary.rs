//! The `vocab` object of a model.

use super::json::Field;
use crate::error::Result;
use crate::hash::FastMap;

/// Token to id.
pub(crate) type Vocabulary = FastMap<String, u32>;

pub(super) fn read_vocabulary(field: &Field<'_>) -> Result<Vocabulary> {
    let entries = field.object()?;
    entries
        .iter()
        .map(|(token, value)| {
            let entry = Field { path: format!("{}[{token:?}]", field.path), value };
            Ok((token.clone(), entry.id()?))
        })
        .collect()
}
