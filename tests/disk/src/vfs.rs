//! SQLite's file layer over the usual one: each call on a watched disk is asked for first.
//!
//! A file of a watched directory is a [`File`] with the usual layer's file behind it; any other file is the usual layer's alone. The
//! layer is SQLite's default one from [`register`] on, so that programs under test open their databases as ever.
#![expect(unsafe_code, reason = "a table of C functions")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::{Arc, Once};

use rusqlite::ffi;

use super::{Call, Fault, Memory, Span, State, Struck, Watched};

/// What SQLite holds of an open file; the file of the usual layer lies right behind it.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    open: *mut Open,
}

struct Open {
    watched: Arc<Watched>,
    name: String,
    /// A new journal: as in the usual layer, its first sync is one of the directory too.
    syncs_names: bool,
}

/// Makes this the layer that SQLite uses.
pub(crate) fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the usual layer is never taken away, and a leaked table lives as long.
        let registered = unsafe {
            ffi::sqlite3_initialize();
            let usual = ffi::sqlite3_vfs_find(std::ptr::null());
            let over = Box::leak(Box::new(*usual));
            over.zName = c"watched".as_ptr();
            over.pNext = null_mut();
            over.pAppData = usual.cast();
            over.szOsFile += c_int::try_from(size_of::<File>()).unwrap();
            over.xOpen = Some(open);
            over.xDelete = Some(delete);
            over.xAccess = Some(access);
            ffi::sqlite3_vfs_register(over, 1)
        };
        assert_eq!(registered, ffi::SQLITE_OK);
    });
}

/// The layer below.
///
/// # Safety
/// `vfs` is the one that was registered here.
unsafe fn usual(vfs: *mut ffi::sqlite3_vfs) -> *mut ffi::sqlite3_vfs {
    // SAFETY: it was put there.
    unsafe { (*vfs).pAppData.cast() }
}

/// A function of the layer below, on the file behind this one.
macro_rules! below {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: whoever opened the file put the usual layer's file and its methods right behind ours.
        unsafe {
            let file = $file.cast::<File>().add(1).cast::<ffi::sqlite3_file>();
            match (*(*file).pMethods).$method {
                Some(method) => method(file $(, $argument)*),
                None => ffi::SQLITE_IOERR,
            }
        }
    }};
}

/// What was opened here.
fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Open {
    // SAFETY: SQLite calls with files that `open` made, one call at a time for each.
    unsafe { &mut *(*file.cast::<File>()).open }
}

/// Asks for a call; the code of SQLite for what it meets.
fn ask(file: *mut ffi::sqlite3_file, call: Call) -> Result<(), c_int> {
    opened(file).watched.lock().ask(call, &opened(file).name).map_err(|struck| code(call, struck))
}

const fn code(call: Call, Struck(fault): Struck) -> c_int {
    match (fault, call) {
        (Fault::Full, Call::Write) => ffi::SQLITE_FULL,
        (Fault::Full, Call::Map) => ffi::SQLITE_IOERR_SHMSIZE,
        (Fault::ReadOnly, Call::Write | Call::Truncate) => ffi::SQLITE_READONLY,
        (_, Call::Open | Call::Create) => ffi::SQLITE_CANTOPEN,
        (_, Call::Read) => ffi::SQLITE_IOERR_READ,
        (_, Call::Write) => ffi::SQLITE_IOERR_WRITE,
        (_, Call::Truncate) => ffi::SQLITE_IOERR_TRUNCATE,
        (_, Call::Sync | Call::SyncNames) => ffi::SQLITE_IOERR_FSYNC,
        (_, Call::Delete | Call::Rename) => ffi::SQLITE_IOERR_DELETE,
        (_, Call::Look) => ffi::SQLITE_IOERR_FSTAT,
        (_, Call::Map) => ffi::SQLITE_IOERR_SHMMAP,
    }
}

fn path<'a>(name: *const c_char) -> Option<&'a Path> {
    // SAFETY: where it is not null it is a string of SQLite that outlives the call.
    let name = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) })?;
    Some(Path::new(OsStr::from_bytes(name.to_bytes())))
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives us the layer that it was given.
    let usual = unsafe { usual(vfs) };
    // SAFETY: a layer without this function is none.
    let below = unsafe { (*usual).xOpen.unwrap() };
    let Some((watched, short)) = path(name).and_then(Watched::of) else {
        // SAFETY: the same arguments, and room for the usual layer's file.
        return unsafe { below(usual, name, file, flags, out) };
    };
    // SAFETY: as much room as was asked for. Without methods SQLite does not close what was not opened.
    unsafe { (*file).pMethods = std::ptr::null() };
    let mut disk = watched.lock();
    let is_new = flags & ffi::SQLITE_OPEN_CREATE != 0 && !disk.model.has(&short);
    let is_memory = disk.memory;
    let call = if is_new { Call::Create } else { Call::Open };
    let was_down = disk.is_down;
    let asked = disk.ask(call, &short);
    if is_new && (asked.is_ok() || (!was_down && disk.is_down)) {
        disk.model.name(&short);
    }
    let is_read_only = disk
        .plan
        .is_some_and(|plan| plan.strikes > 0 && plan.fault == Fault::ReadOnly && plan.span == Span::FromThen);
    drop(disk);
    if let Err(struck) = asked {
        return code(call, struck);
    }
    let writes = ffi::SQLITE_OPEN_READWRITE | ffi::SQLITE_OPEN_CREATE;
    let flags = if is_read_only { (flags & !writes) | ffi::SQLITE_OPEN_READONLY } else { flags };
    // SAFETY: the usual layer's file has its room behind ours.
    let opened = unsafe { below(usual, name, file.cast::<File>().add(1).cast(), flags, out) };
    if opened != ffi::SQLITE_OK {
        return opened;
    }
    let journal = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_WAL;
    let open = Open { watched, name: short, syncs_names: is_new && flags & journal != 0 };
    // SAFETY: it was given to be filled.
    unsafe {
        (*file.cast::<File>()).open = Box::into_raw(Box::new(open));
        (*file).pMethods = if is_memory == Memory::Absent { &WITHOUT_MEMORY } else { &METHODS };
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, syncs: c_int) -> c_int {
    // SAFETY: SQLite gives us the layer that it was given.
    let usual = unsafe { usual(vfs) };
    if let Some((watched, short)) = path(name).and_then(Watched::of) {
        let mut disk = watched.lock();
        let was_down = disk.is_down;
        let asked = disk.ask(Call::Delete, &short);
        if asked.is_ok() || (!was_down && disk.is_down) {
            disk.model.delete(&short);
        }
        if let Err(struck) = asked {
            return code(Call::Delete, struck);
        }
        if syncs != 0 {
            let asked = disk.ask(Call::SyncNames, &short);
            if !disk.is_down {
                disk.model.sync_names(asked.is_ok());
            }
            if asked.is_err() {
                // The name is gone, as in the usual layer.
                // SAFETY: the same arguments.
                unsafe { (*usual).xDelete.unwrap()(usual, name, 0) };
                return ffi::SQLITE_IOERR_DIR_FSYNC;
            }
        }
    }
    // SAFETY: the same arguments.
    unsafe { (*usual).xDelete.unwrap()(usual, name, syncs) }
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    if let Some((watched, short)) = path(name).and_then(Watched::of)
        && watched.lock().ask(Call::Look, &short).is_err()
    {
        return ffi::SQLITE_IOERR_ACCESS;
    }
    // SAFETY: SQLite gives us the layer that it was given, and the same arguments.
    unsafe {
        let usual = usual(vfs);
        (*usual).xAccess.unwrap()(usual, name, flags, out)
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let closed = below!(file, xClose);
    // SAFETY: `open` made it, and SQLite closes once.
    unsafe { drop(Box::from_raw((*file.cast::<File>()).open)) };
    closed
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, size: c_int, at: i64) -> c_int {
    match ask(file, Call::Read) {
        Ok(()) => below!(file, xRead, to, size, at),
        Err(code) => code,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, size: c_int, at: i64) -> c_int {
    let Open { watched, name, .. } = opened(file);
    // SAFETY: SQLite says how much there is.
    let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), usize::try_from(size).unwrap()) };
    let mut disk = watched.lock();
    let was_down = disk.is_down;
    let asked = disk.ask(Call::Write, name);
    let done = match asked {
        Ok(()) => size,
        // Half of it was written when the room or the medium came to its end.
        Err(Struck(Fault::Full | Fault::Io)) if !was_down => size / 2,
        Err(Struck(Fault::Cut)) => size,
        Err(_) => 0,
    };
    let kept = &bytes[..usize::try_from(done).unwrap()];
    if !kept.is_empty() {
        disk.model.write(name, usize::try_from(at).unwrap(), kept);
    }
    let is_down = disk.is_down;
    drop(disk);
    match asked {
        Ok(()) => below!(file, xWrite, from, size, at),
        Err(struck) => {
            if done > 0 && !is_down {
                below!(file, xWrite, from, done, at);
            }
            code(Call::Write, struck)
        }
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let Open { watched, name, .. } = opened(file);
    let mut disk = watched.lock();
    let was_down = disk.is_down;
    let asked = disk.ask(Call::Truncate, name);
    if asked.is_ok() || (!was_down && disk.is_down) {
        disk.model.truncate(name, usize::try_from(size).unwrap());
    }
    drop(disk);
    match asked {
        Ok(()) => below!(file, xTruncate, size),
        Err(struck) => code(Call::Truncate, struck),
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let Open { watched, name, syncs_names } = opened(file);
    let mut disk = watched.lock();
    let asked = sync_model(&mut disk, name, syncs_names);
    drop(disk);
    match asked {
        Ok(()) => below!(file, xSync, flags),
        Err(struck) => code(Call::Sync, struck),
    }
}

fn sync_model(disk: &mut State, name: &str, syncs_names: &mut bool) -> Result<(), Struck> {
    let asked = disk.ask(Call::Sync, name);
    if !disk.is_down {
        disk.model.sync(name, asked.is_ok());
    }
    asked?;
    if std::mem::take(syncs_names) {
        let asked = disk.ask(Call::SyncNames, name);
        if !disk.is_down {
            disk.model.sync_names(asked.is_ok());
        }
        // The usual layer does not report it.
        if disk.is_down {
            asked?;
        }
    }
    Ok(())
}

unsafe extern "C" fn size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    match ask(file, Call::Look) {
        Ok(()) => below!(file, xFileSize, out),
        Err(code) => code,
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    match ask(file, Call::Look) {
        Ok(()) => below!(file, xLock, level),
        Err(_) => ffi::SQLITE_IOERR_LOCK,
    }
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    below!(file, xUnlock, level)
}

unsafe extern "C" fn is_reserved(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    below!(file, xCheckReservedLock, out)
}

unsafe extern "C" fn control(file: *mut ffi::sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    below!(file, xFileControl, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    below!(file, xSectorSize)
}

unsafe extern "C" fn characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    below!(file, xDeviceCharacteristics)
}

unsafe extern "C" fn map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    size: c_int,
    extends: c_int,
    out: *mut *mut c_void,
) -> c_int {
    if opened(file).watched.lock().memory == Memory::Refused {
        return ffi::SQLITE_IOERR_SHMMAP;
    }
    match ask(file, Call::Map) {
        Ok(()) => below!(file, xShmMap, page, size, extends, out),
        Err(code) => code,
    }
}

unsafe extern "C" fn lock_map(
    file: *mut ffi::sqlite3_file,
    from: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    below!(file, xShmLock, from, count, flags)
}

unsafe extern "C" fn barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: as in `below!`, which is for functions that return a code.
    unsafe {
        let file = file.cast::<File>().add(1).cast::<ffi::sqlite3_file>();
        (*(*file).pMethods).xShmBarrier.unwrap()(file);
    }
}

unsafe extern "C" fn unmap(file: *mut ffi::sqlite3_file, deletes: c_int) -> c_int {
    below!(file, xShmUnmap, deletes)
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(map),
    xShmLock: Some(lock_map),
    xShmBarrier: Some(barrier),
    xShmUnmap: Some(unmap),
    xFetch: None,
    xUnfetch: None,
};

static WITHOUT_MEMORY: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    ..METHODS
};
