//! The special tokens around a text.

use super::json::Field;
use crate::error::{Error, Result};

const KINDS: &str = "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing";

/// A special token and its segment.
pub(crate) type Special = (u32, i32);

/// What comes before and after the tokens of one text, and how two are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostProcessor {
    pub before: Vec<Special>,
    pub after: Vec<Special>,
    /// Segment of the text itself.
    pub type_id: i32,
    pair: Vec<Piece>,
}

/// A part of a row of two texts: a special token, or one of the texts with its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    Special(Special),
    First(i32),
    Second(i32),
}

/// Without a post-processor the second text follows the first.
impl Default for PostProcessor {
    fn default() -> Self {
        let pair = vec![Piece::First(0), Piece::Second(1)];
        Self { before: Vec::new(), after: Vec::new(), type_id: 0, pair }
    }
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

    /// The parts of a row of two texts.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the template does not hold each text once.
    pub fn pair(&self) -> Result<&[Piece]> {
        let count = |wanted: fn(&Piece) -> bool| self.pair.iter().filter(|piece| wanted(piece)).count();
        let texts = (count(|p| matches!(p, Piece::First(_))), count(|p| matches!(p, Piece::Second(_))));
        if texts == (1, 1) {
            return Ok(&self.pair);
        }
        let found = format!("{} times A and {} times B", texts.0, texts.1);
        Err(Error::unsupported("post_processor.pair", found, "sequence A and sequence B, each once"))
    }
}

fn collect(field: &Field<'_>, found: &mut Vec<PostProcessor>) -> Result<()> {
    match field.kind()? {
        "Sequence" => {
            field.required("processors")?.items()?.iter().try_for_each(|item| collect(item, found))?
        }
        // It trims offsets, of which there are none here.
        "ByteLevel" => {}
        "BertProcessing" => found.push(ends(field, false)?),
        "RobertaProcessing" => found.push(ends(field, true)?),
        "TemplateProcessing" => found.push(template(field)?),
        _ => return Err(field.required("type")?.unsupported(KINDS)),
    }
    Ok(())
}

/// RoBERTa's has two ends between the texts, and one segment.
fn ends(field: &Field<'_>, is_roberta: bool) -> Result<PostProcessor> {
    let end = |key: &str| -> Result<u32> {
        let pair = field.required(key)?;
        match pair.items()?.as_slice() {
            [_, id] => id.id(),
            _ => Err(pair.wrong("a token and its id")),
        }
    };
    let (cls, sep) = (end("cls")?, end("sep")?);
    let second = i32::from(!is_roberta);
    let mut pair = vec![Piece::Special((cls, 0)), Piece::First(0), Piece::Special((sep, 0))];
    pair.extend(is_roberta.then_some(Piece::Special((sep, 0))));
    pair.extend([Piece::Second(second), Piece::Special((sep, second))]);
    Ok(PostProcessor { before: vec![(cls, 0)], after: vec![(sep, 0)], type_id: 0, pair })
}

fn template(field: &Field<'_>) -> Result<PostProcessor> {
    let single = field.required("single")?;
    let specials = field.required("special_tokens")?;
    let mut post = PostProcessor { pair: pieces(&field.required("pair")?, &specials)?, ..Default::default() };
    let mut texts = 0;
    for piece in pieces(&single, &specials)? {
        match piece {
            Piece::Special(special) if texts == 0 => post.before.push(special),
            Piece::Special(special) => post.after.push(special),
            Piece::First(type_id) => {
                post.type_id = type_id;
                texts += 1;
            }
            Piece::Second(_) => return Err(single.unsupported("sequence A in a template for one text")),
        }
    }
    if texts == 1 { Ok(post) } else { Err(single.unsupported("sequence A, once")) }
}

fn pieces(template: &Field<'_>, specials: &Field<'_>) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for piece in template.items()? {
        if let Some(text) = piece.optional("Sequence") {
            let type_id = text.required("type_id")?.id()? as i32;
            pieces.push(match text.required("id")?.string()? {
                "A" => Piece::First(type_id),
                "B" => Piece::Second(type_id),
                _ => return Err(piece.unsupported("sequence A or sequence B")),
            });
        } else {
            let special = piece.required("SpecialToken")?;
            let type_id = special.required("type_id")?.id()? as i32;
            for id in specials.required(special.required("id")?.string()?)?.required("ids")?.items()? {
                pieces.push(Piece::Special((id.id()?, type_id)));
            }
        }
    }
    Ok(pieces)
}
