//! How the rows of one relation become documents.

use protocol::{Oid, TupleData};

use super::change::{Change, Image, Operation};
use super::label::Label;
use super::meta::{MetaTemplate, Source};
use crate::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::json::{Escaper, Kernel, KernelTask, OutputCursor};
use crate::value::{Transcoder, TypeRegistry, ValueError, ValueOptions};

/// A column of the rows that a plan is for.
#[derive(Debug, Clone)]
pub struct PlanColumn {
    /// Its name, which is the name of the document's member.
    pub name: String,
    /// Its type, which may be a domain.
    pub type_oid: Oid,
    /// Its place in the rows.
    pub index: usize,
    /// Whether it belongs to the key that was discovered, which changes how some types are written.
    pub is_key: bool,
}

/// What plans of one capture have in common.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// How values are written.
    pub values: ValueOptions,
}

/// The output order of a relation's columns, and how each is written.
#[derive(Debug)]
pub struct Plan {
    /// Columns that sort before `_meta`, and those behind it.
    before_meta: Vec<OutputColumn>,
    after_meta: Vec<OutputColumn>,
    meta: MetaTemplate,
}

#[derive(Debug)]
struct OutputColumn {
    label: Label,
    index: usize,
    transcoder: Transcoder,
    name: String,
}

/// The member that every document has. A column of this name is left out: its value would take the
/// place of where the document comes from.
const META: &str = "_meta";

impl Plan {
    /// Makes the plan for rows of these columns.
    pub fn new(
        columns: &[PlanColumn],
        meta: MetaTemplate,
        types: &TypeRegistry,
        options: &PlanOptions,
    ) -> Self {
        let mut sorted: Vec<_> = columns
            .iter()
            .filter(|column| column.name != META)
            .collect();
        sorted.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        let mut before_meta = Vec::new();
        let mut after_meta = Vec::new();
        for column in sorted {
            let output = OutputColumn {
                label: Label::new(&column.name),
                index: column.index,
                transcoder: Transcoder::new(column.type_oid, types, &options.values, column.is_key),
                name: column.name.clone(),
            };
            if column.name.as_str() < META {
                before_meta.push(output);
            } else {
                after_meta.push(output);
            }
        }
        Self {
            before_meta,
            after_meta,
            meta,
        }
    }

    /// Writes the document of a change.
    ///
    /// # Errors
    ///
    /// Fails where a value is not of its column's type; nothing is appended then.
    pub fn write(&self, change: &Change<'_>, source: Source, out: &mut Buffer) -> Result<()> {
        let Some(image) = change.borrow_image() else {
            return Err(without_row(change.operation));
        };
        let mut cursor = OutputCursor::new(out, ROW);
        let written = Escaper::best().run(Document {
            plan: self,
            change,
            image,
            source: &source,
            cursor: &mut cursor,
        });
        cursor.finish();
        written
    }
}

/// What it takes to write a document.
struct Document<'a, 'r, 'o> {
    plan: &'a Plan,
    change: &'a Change<'a>,
    image: &'a Image<'a>,
    /// By reference, as the room: a copy would be made in pieces of another size than those that were
    /// written, for which the processor waits.
    source: &'a Source,
    cursor: &'r mut OutputCursor<'o>,
}

impl KernelTask for Document<'_, '_, '_> {
    type Output = Result<()>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Result<()> {
        let Self {
            plan,
            change,
            image,
            source,
            cursor: parent,
        } = self;
        let cursor = &mut parent.reborrow();
        let start = cursor.position();
        // Names in lower case, as nearly all are, come behind `_meta`.
        write_columns(&plan.before_meta, image, cursor)?;
        plan.meta.write(change.operation, source, cursor);
        if change.operation == Operation::Update
            && let Some(old) = &change.old
        {
            cursor.push(b",\"before\":");
            let start = cursor.position();
            write_columns(&plan.before_meta, old, cursor)?;
            write_columns(&plan.after_meta, old, cursor)?;
            close(start, cursor);
        }
        cursor.push(b"}");
        write_each(&plan.after_meta, image, kernel, cursor)?;
        close(start, cursor);
        let end = cursor.position();
        parent.resume_at(end);
        Ok(())
    }
}

/// Room for most rows, and for what is written beyond their end.
const ROW: usize = 4096;

/// Writes members, each behind a comma.
#[inline(always)]
fn write_columns(
    columns: &[OutputColumn],
    image: &Image<'_>,
    cursor: &mut OutputCursor<'_>,
) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    // By reference goes a room of its own: the position in this one stays in a register.
    let mut apart = cursor.reborrow();
    let written = write_some(columns, image, &mut apart);
    let end = apart.position();
    cursor.resume_at(end);
    written
}

#[inline(never)]
fn write_some(
    columns: &[OutputColumn],
    image: &Image<'_>,
    cursor: &mut OutputCursor<'_>,
) -> Result<()> {
    Escaper::best().run(Members {
        columns,
        image,
        cursor,
    })
}

/// What it takes to write members.
struct Members<'a, 'r, 'o> {
    columns: &'a [OutputColumn],
    image: &'a Image<'a>,
    cursor: &'r mut OutputCursor<'o>,
}

impl KernelTask for Members<'_, '_, '_> {
    type Output = Result<()>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Result<()> {
        let Self {
            columns,
            image,
            cursor,
        } = self;
        let mut apart = cursor.reborrow();
        let written = write_each(columns, image, kernel, &mut apart);
        let at = apart.position();
        cursor.resume_at(at);
        written
    }
}

#[inline(always)]
fn write_each<K: Kernel>(
    columns: &[OutputColumn],
    image: &Image<'_>,
    kernel: K,
    cursor: &mut OutputCursor<'_>,
) -> Result<()> {
    let mut columns = columns;
    loop {
        let written;
        (columns, written) = write_short(columns, image.values, kernel, cursor.spare());
        cursor.advance(written);
        let [column, behind @ ..] = columns else {
            return Ok(());
        };
        columns = behind;
        match image.get(column.index) {
            TupleData::Text(text) => {
                column.label.write(cursor);
                let mut apart = cursor.reborrow();
                let written = column.transcoder.write_to(text, &mut apart);
                let end = apart.position();
                cursor.resume_at(end);
                if let Err(error) = written {
                    return Err(column.malformed(error));
                }
            }
            TupleData::Null => {
                column.label.write(cursor);
                cursor.push(b"null");
            }
            TupleData::UnchangedToast => {}
            TupleData::Binary(_) => return Err(column.in_binary()),
        }
    }
}

/// Writes members up to the first whose value is not a short one, as most are: one look at the room is
/// enough for them. Returns the columns that are left, and how much was written.
#[inline(always)]
fn write_short<'c, K: Kernel>(
    columns: &'c [OutputColumn],
    values: &[TupleData<'_>],
    kernel: K,
    output: &mut [u8],
) -> (&'c [OutputColumn], usize) {
    let size = output.len();
    let (mut columns, mut rest) = (columns, output);
    while let [column, behind @ ..] = columns
        && let Some(TupleData::Text(text)) = values.get(column.index)
        && let Some(window) = rest.first_chunk_mut()
        && let Some((length, place)) = column.label.put(window)
        && let Some(written) = column.transcoder.write_short(text, kernel, place)
        && let Some((_, remainder)) =
            std::mem::take(&mut rest).split_at_mut_checked(length + written)
    {
        (columns, rest) = (behind, remainder);
    }
    (columns, size - rest.len())
}

/// Makes an object of the members from `start` on: the comma before the first becomes its brace.
#[inline]
fn close(start: usize, cursor: &mut OutputCursor<'_>) {
    match cursor.byte_mut(start) {
        Some(comma) => *comma = b'{',
        None => cursor.push(b"{"),
    }
    cursor.push(b"}");
}

impl OutputColumn {
    #[cold]
    fn malformed(&self, error: ValueError) -> Error {
        Error::new(
            ErrorKind::Value,
            format!("a value of column \"{}\" cannot be captured", self.name),
        )
        .with_source(error)
    }

    #[cold]
    fn in_binary(&self) -> Error {
        Error::new(
            ErrorKind::Protocol,
            format!("column \"{}\" came in binary form, text was due", self.name),
        )
    }
}

#[cold]
fn without_row(operation: Operation) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!(
            "a change of kind {} came without its row",
            operation.letter()
        ),
    )
}
