/* Counts what a process does to the files below a folder, and at the n-th such operation lets it fail or die.

   Preloaded (LD_PRELOAD) and asleep until `shim_arm` is called. Operations are those that change something: opening
   to write, write, fsync, truncate, mkdir, rename, unlink, rmdir, chmod. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { ASLEEP, COUNT, KILL_BEFORE, KILL_AMID, FAIL_ONCE, FAIL_ON, SHORT_WRITE };

static char root[PATH_MAX];
static size_t root_length;
static atomic_int mode = ASLEEP, done_count = 0;
static int at = 0, error_number = 0;
static atomic_int full = 0; /* after FAIL_ON or SHORT_WRITE: nothing more can be written */
static unsigned char watched[65536];
static char names[1 << 20];
static atomic_size_t names_used = 0;

void shim_arm(const char *folder, int how, int n, int error) {
  snprintf(root, sizeof root, "%s", folder);
  root_length = strlen(root);
  at = n;
  error_number = error;
  done_count = full = 0;
  names_used = 0;
  mode = how;
}
int shim_count(void) { return done_count; }
const char *shim_names(void) { return names; }

static int below(const char *path) {
  return mode != ASLEEP && path && strncmp(path, root, root_length) == 0 &&
         (path[root_length] == '/' || path[root_length] == 0);
}
static int is_watched(int fd) { return mode != ASLEEP && fd >= 0 && fd < 65536 && watched[fd]; }

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* 0: go on; 1: fail with errno; 2: do half of it, then die; 3: do half of it. grows: whether it needs room. */
static int fate(const char *name, int grows) {
  int n = ++done_count;
  size_t length = strlen(name), place = names_used;
  if (mode == COUNT && place + length + 2 < sizeof names) {
    memcpy(names + place, name, length);
    names[place + length] = ' ';
    names_used = place + length + 1;
    names[names_used] = 0;
  }
  if (full && grows) return errno = error_number, 1;
  if (n != at) return 0;
  switch (mode) {
    case KILL_BEFORE: die(); return 0;
    case KILL_AMID: return 2;
    case FAIL_ONCE: return errno = error_number, 1;
    case FAIL_ON:
      full = 1;
      return grows ? (errno = error_number, 1) : 0;
    case SHORT_WRITE:
      full = 1;
      return 3;
    default: return 0;
  }
}

#define REAL(type, name, ...)                                      \
  static type (*real)(__VA_ARGS__);                                \
  if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);
#define WHOLE(name, grows, call)                                   \
  do {                                                             \
    int how = fate(name, grows);                                   \
    if (how == 1) return -1;                                       \
    int result = (call);                                           \
    if (how == 2) die();                                           \
    return result;                                                 \
  } while (0)

static int opened(int fd, int seen) {
  if (fd >= 0 && fd < 65536) watched[fd] = seen;
  return fd;
}

#define OPEN(name)                                                 \
  int name(const char *path, int flags, ...) {                     \
    REAL(int, name, const char *, int, ...)                        \
    va_list given;                                                 \
    va_start(given, flags);                                        \
    mode_t rights = flags & (O_CREAT | O_TMPFILE) ? va_arg(given, mode_t) : 0; \
    va_end(given);                                                 \
    int seen = below(path) && (flags & (O_WRONLY | O_RDWR | O_CREAT)); \
    if (!seen) return opened(real(path, flags, rights), below(path)); \
    int how = fate("open", flags & O_CREAT);                       \
    if (how == 1) return -1;                                       \
    int fd = opened(real(path, flags, rights), 1);                 \
    if (how == 2) die();                                           \
    return fd;                                                     \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  REAL(int, close, int)
  if (fd >= 0 && fd < 65536) watched[fd] = 0;
  return real(fd);
}
ssize_t write(int fd, const void *content, size_t size) {
  REAL(ssize_t, write, int, const void *, size_t)
  if (!is_watched(fd)) return real(fd, content, size);
  int how = fate("write", 1);
  if (how == 1) return -1;
  if (how) size = size > 1 ? size / 2 : size;
  ssize_t result = real(fd, content, size);
  if (how == 2) die();
  return result;
}
int fsync(int fd) {
  REAL(int, fsync, int)
  if (!is_watched(fd)) return real(fd);
  WHOLE("fsync", 0, real(fd));
}
int fdatasync(int fd) {
  REAL(int, fdatasync, int)
  if (!is_watched(fd)) return real(fd);
  WHOLE("fsync", 0, real(fd));
}
int ftruncate64(int fd, off64_t size) {
  REAL(int, ftruncate64, int, off64_t)
  if (!is_watched(fd)) return real(fd, size);
  WHOLE("truncate", 0, real(fd, size));
}
int truncate64(const char *path, off64_t size) {
  REAL(int, truncate64, const char *, off64_t)
  if (!below(path)) return real(path, size);
  WHOLE("truncate", 0, real(path, size));
}
int mkdir(const char *path, mode_t rights) {
  REAL(int, mkdir, const char *, mode_t)
  if (!below(path)) return real(path, rights);
  WHOLE("mkdir", 1, real(path, rights));
}
int rename(const char *from, const char *to) {
  REAL(int, rename, const char *, const char *)
  if (!below(to)) return real(from, to);
  WHOLE("rename", 0, real(from, to));
}
int unlink(const char *path) {
  REAL(int, unlink, const char *)
  if (!below(path)) return real(path);
  WHOLE("unlink", 0, real(path));
}
int rmdir(const char *path) {
  REAL(int, rmdir, const char *)
  if (!below(path)) return real(path);
  WHOLE("rmdir", 0, real(path));
}
int unlinkat(int folder, const char *path, int flags) {
  REAL(int, unlinkat, int, const char *, int)
  if (!(path[0] == '/' ? below(path) : is_watched(folder))) return real(folder, path, flags);
  WHOLE("unlink", 0, real(folder, path, flags));
}
int chmod(const char *path, mode_t rights) {
  REAL(int, chmod, const char *, mode_t)
  if (!below(path)) return real(path, rights);
  WHOLE("chmod", 0, real(path, rights));
}
