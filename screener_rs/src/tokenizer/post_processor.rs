//! The special tokens around a text.

use super::json::Field;
use crate::error::Result;

const KINDS: &str = "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing";

/// A special token and its segment.
pub(crate) type Special = (u32, i32);

/// What comes before and after the tokens of one text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct PostProcessor {
    pub before: Vec<Special>,
    pub after: Vec<Special>,
    /// Segment of the text itself.
    pub type_id: i32,
}

impl PostProcessor {
    pub fn read(field: Option<&Field<'_>>) -> Result<Self> {
        let mut found = Vec::new();
        if let Some(field) = field {
            collect(field, &mut found)?;
            if found.len() > 1 {
                return Err(field.unsupported("one post-processor that adds tokens"));
            }
        }
        Ok(found.pop().unwrap_or_default())
    }

    pub fn added(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

fn collect(field: &Field<'_>, found: &mut Vec<PostProcessor>) -> Result<()> {
    match field.kind()? {
        "Sequence" => {
            field.required("processors")?.items()?.iter().try_for_each(|item| collect(item, found))?
        }
        // It trims offsets, of which there are none here.
        "ByteLevel" => {}
        "BertProcessing" | "RobertaProcessing" => found.push(pair_of_ends(field)?),
        "TemplateProcessing" => found.push(template(field)?),
        _ => return Err(field.required("type")?.unsupported(KINDS)),
    }
    Ok(())
}

fn pair_of_ends(field: &Field<'_>) -> Result<PostProcessor> {
    let end = |key: &str| -> Result<Vec<Special>> {
        let pair = field.required(key)?;
        match pair.items()?.as_slice() {
            [_, id] => Ok(vec![(id.id()?, 0)]),
            _ => Err(pair.wrong("a token and its id")),
        }
    };
    Ok(PostProcessor { before: end("cls")?, after: end("sep")?, type_id: 0 })
}

fn template(field: &Field<'_>) -> Result<PostProcessor> {
    let single = field.required("single")?;
    let specials = field.required("special_tokens")?;
    let mut post = PostProcessor::default();
    let mut texts = 0;
    for piece in single.items()? {
        if let Some(text) = piece.optional("Sequence") {
            if text.required("id")?.string()? != "A" {
                return Err(piece.unsupported("sequence A in a template for one text"));
            }
            post.type_id = text.required("type_id")?.id()? as i32;
            texts += 1;
        } else {
            let special = piece.required("SpecialToken")?;
            let type_id = special.required("type_id")?.id()? as i32;
            let side = if texts == 0 { &mut post.before } else { &mut post.after };
            for id in specials.required(special.required("id")?.string()?)?.required("ids")?.items()? {
                side.push((id.id()?, type_id));
            }
        }
    }
    if texts == 1 { Ok(post) } else { Err(single.unsupported("sequence A, once")) }
}
