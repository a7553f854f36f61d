//! `sanderling query`: SQL from the command line.

use std::io::Write;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::pretty::pretty_format_batches_with_schema;
use client::Client;
use event::SystemColumn;
use futures::TryStreamExt;
use sql::RowQuery;

use super::Failure;
use super::reaching::Reaching;

/// Run a SQL query on a server and print its rows.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling query \"SELECT count(*) FROM wikiticker\" --format json")]
pub(crate) struct Query {
    /// The query.
    sql: String,
    /// How rows are printed: a table, one JSON object a line, or CSV with a header.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Go on with the rows that come, until Ctrl-C: for SELECT and WHERE over one dataset, as JSON or CSV.
    #[arg(long)]
    follow: bool,
    /// With --follow: begin with the rows that are there.
    #[arg(long, requires = "follow")]
    history: bool,
    #[command(flatten)]
    reaching: Reaching,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

impl Query {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = Client::connect(self.reaching.options()?)?;
        if self.follow {
            return self.go_on(&client).await;
        }
        let (schema, rows) = client.query(self.sql).await?;
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Table => {
                let rows: Vec<RecordBatch> = rows.try_collect().await?;
                writeln!(out, "{}", pretty_format_batches_with_schema(schema, &rows)?)?;
            }
            Format::Json => {
                let mut rows = rows;
                while let Some(batch) = rows.try_next().await? {
                    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
                    writer.write(&batch)?;
                    writer.finish()?;
                }
            }
            Format::Csv => {
                let mut rows = rows;
                let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut out);
                writer.write(&RecordBatch::new_empty(schema))?;
                while let Some(batch) = rows.try_next().await? {
                    writer.write(&batch)?;
                }
            }
        }
        Ok(())
    }

    /// The rows of the dataset's stream that the query lets through. Those from before are read and left out, unless they are
    /// asked for.
    async fn go_on(self, client: &Client) -> Result<(), Failure> {
        let query = RowQuery::parse(&self.sql)?;
        let since = jiff::Timestamp::now().as_microsecond();
        let mut rows = std::pin::pin!(client.stream(query.table(), None, true));
        let mut out = std::io::stdout().lock();
        let mut with_header = true;
        while let Some((rows, _)) = rows.try_next().await? {
            let rows = match self.history {
                true => rows,
                false => newer(&rows, since)?,
            };
            if rows.num_rows() == 0 {
                continue;
            }
            let rows = query.apply(&rows)?;
            if self.format == Format::Csv {
                let csv = arrow::csv::WriterBuilder::new().with_header(with_header);
                csv.build(&mut out).write(&rows)?;
                with_header = false;
            } else {
                let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
                writer.write(&rows)?;
                writer.finish()?;
            }
            out.flush()?;
        }
        Ok(())
    }
}

/// The rows that were received at a time (µs since 1970) or later.
fn newer(rows: &RecordBatch, since: i64) -> Result<RecordBatch, Failure> {
    let received = rows.column_by_name(SystemColumn::ReceivedTime.name());
    let received = received.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let received = received.ok_or_else(|| "the stream has no times of receipt".to_owned())?;
    let newer: BooleanArray = received
        .values()
        .iter()
        .map(|time| Some(*time >= since))
        .collect();
    Ok(filter_record_batch(rows, &newer)?)
}
