//! The command line of a state that is on a database server.

use std::path::PathBuf;

use crate::store::DatabaseFile;

/// A database for the state of the installation, in place of a file in its directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Elsewhere {
    /// An empty database on a PostgreSQL server, such as `postgres://postern@db.example/postern`, or with several servers
    /// `postgres://postern@a.example,b.example/postern?target_session_attrs=read-write`. The password is better not here, where others see
    /// it, but in `PGPASSWORD` or a file.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// A file whose first line is the password, read at each start.
    #[arg(long, value_name = "FILE", requires = "database")]
    database_password_file: Option<PathBuf>,
    /// Who may vouch for the server, as PEM, in place of the system's authorities.
    #[arg(long, value_name = "FILE", requires = "database")]
    database_authorities: Option<PathBuf>,
}

impl Elsewhere {
    /// What the state directory is to say; none where it has the state itself.
    pub(crate) fn file(self) -> Option<DatabaseFile> {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let file = DatabaseFile::new(&self.database?);
        Some(DatabaseFile {
            authorities: self.database_authorities.map(absolute),
            password_file: self.database_password_file.map(absolute),
            ..file
        })
    }
}
