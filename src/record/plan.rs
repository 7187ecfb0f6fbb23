//! Plan that writes the rows of one relation as documents.

use protocol::{Oid, TupleData};

use super::change::{Change, Image, Operation};
use super::label::Label;
use super::meta::{MetaTemplate, Source};
use crate::buffer::Buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::json::{Escaper, Kernel, KernelTask, OutputCursor};
use crate::value::{Transcoder, TypeRegistry, ValueError, ValueOptions};

/// Column of the rows that a plan writes.
#[derive(Debug, Clone)]
pub struct PlanColumn {
    /// Name of the column, and of the document's member.
    pub name: String,
    /// Type of the column, which may be a domain.
    pub type_oid: Oid,
    /// Index of the column's value in the rows.
    pub index: usize,
    /// Whether the column belongs to the discovered key, which changes how values of some types are
    /// written.
    pub is_key: bool,
}

/// Options that all plans of a capture share.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Options for writing values.
    pub values: ValueOptions,
}

/// Columns of a relation in the order of the document, each with its label and transcoder.
#[derive(Debug)]
pub struct Plan {
    /// Columns whose names sort before `_meta`.
    before_meta: Vec<OutputColumn>,
    /// Columns whose names sort after `_meta`.
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

/// Member that every document has. A column of this name is left out, because its value would
/// replace the document's origin.
const META: &str = "_meta";

impl Plan {
    /// Makes the plan for rows with these columns.
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

    /// Appends the document of a change.
    ///
    /// # Errors
    ///
    /// Fails if a value is not in the text form of its column's type; nothing is appended then.
    pub fn write(&self, change: &Change<'_>, source: Source, out: &mut Buffer) -> Result<()> {
        let Some(image) = change.borrow_image() else {
            return Err(without_row(change.operation));
        };
        let mut cursor = OutputCursor::new(out, ROW_RESERVE);
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

/// Arguments of writing a document.
struct Document<'a, 'r, 'o> {
    plan: &'a Plan,
    change: &'a Change<'a>,
    image: &'a Image<'a>,
    /// By reference, because a copy would read pieces of other sizes than those that were just
    /// written, which stalls the processor.
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
        // Names in lower case, as nearly all are, sort after `_meta`.
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

/// Bytes reserved for a row: enough for most rows, and for short values written as whole arrays at
/// their end.
const ROW_RESERVE: usize = 4096;

/// Appends members, each with a comma before it.
#[inline(always)]
fn write_columns(
    columns: &[OutputColumn],
    image: &Image<'_>,
    cursor: &mut OutputCursor<'_>,
) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    // The function gets a reference to another cursor, so that the position of this one stays in a
    // register.
    let mut inner = cursor.reborrow();
    let written = write_members(columns, image, &mut inner);
    let end = inner.position();
    cursor.resume_at(end);
    written
}

#[inline(never)]
fn write_members(
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

/// Arguments of writing members.
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
        let mut inner = cursor.reborrow();
        let written = write_each(columns, image, kernel, &mut inner);
        let at = inner.position();
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
        let [column, remaining @ ..] = columns else {
            return Ok(());
        };
        columns = remaining;
        match image.get(column.index) {
            TupleData::Text(text) => {
                column.label.write(cursor);
                let mut inner = cursor.reborrow();
                let written = column.transcoder.write_to(text, &mut inner);
                let end = inner.position();
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

/// Writes members to `output` up to the first one whose value is not short. A short value, as most
/// are, needs one check for its label and value that the output is long enough. Returns the columns
/// that are left, and the number of bytes written.
#[inline(always)]
fn write_short<'c, K: Kernel>(
    columns: &'c [OutputColumn],
    values: &[TupleData<'_>],
    kernel: K,
    output: &mut [u8],
) -> (&'c [OutputColumn], usize) {
    let size = output.len();
    let (mut columns, mut output) = (columns, output);
    while let [column, remaining @ ..] = columns
        && let Some(TupleData::Text(text)) = values.get(column.index)
        && let Some(window) = output.first_chunk_mut()
        && let Some((length, value_window)) = column.label.put(window)
        && let Some(written) = column.transcoder.write_short(text, kernel, value_window)
        && let Some((_, remainder)) =
            std::mem::take(&mut output).split_at_mut_checked(length + written)
    {
        (columns, output) = (remaining, remainder);
    }
    (columns, size - output.len())
}

/// Makes an object of the members from position `start` on. The comma before the first one becomes
/// the opening brace.
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
            format!(
                "column \"{}\" was sent in binary form, expected text",
                self.name
            ),
        )
    }
}

#[cold]
fn without_row(operation: Operation) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("a change of kind {} has no row", operation.letter()),
    )
}
