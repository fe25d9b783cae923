/* The files of COUNT small blobs, made in a bare loop below DIRECTORY: layout DIRECTORY KIND COUNT.
 *
 * journal  one append and one fdatasync for each 32 blobs; then a directory and two files each
 * stage    the same, but each directory is made under another name, and renamed
 * nginx    a file each, made in another directory, and renamed; nothing is flushed
 *
 * Prints the seconds that passed, and those of processor time. layout.py does the same in Python.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, DATA = 1024, RECORD = 1066 };

static char bytes[BATCH * (DATA + RECORD)];

static void check(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(1);
    }
}

static void store(const char *path, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    check(fd >= 0, path);
    check(write(fd, bytes, size) == (ssize_t)size, path);
    check(close(fd) == 0, path);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static double processor(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec +
           (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
    char name[32], path[64], final[64];
    int journal = -1;
    check(argc == 4 && chdir(argv[1]) == 0, "layout DIRECTORY KIND COUNT");
    const char *kind = argv[2];
    int count = atoi(argv[3]), plain = !strcmp(kind, "nginx"), staged = !strcmp(kind, "stage");
    if (plain) {
        check(mkdir("made", 0777) == 0 && mkdir("store", 0777) == 0, "mkdir");
    } else {
        journal = open("journal", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        check(journal >= 0, "journal");
    }
    double began = seconds(), used = processor();
    for (int number = 0; number < count; number++) {
        if (!plain && number % BATCH == 0) {
            check(write(journal, bytes, sizeof bytes) == (ssize_t)sizeof bytes, "journal");
            check(fdatasync(journal) == 0, "fdatasync");
        }
        if (plain) {
            snprintf(path, sizeof path, "made/%d", number);
            snprintf(final, sizeof final, "store/new-%d", number);
            store(path, DATA);
            check(rename(path, final) == 0, final);
            continue;
        }
        /* Scattered, as ids are. */
        snprintf(final, sizeof final, "%u", (unsigned)number * 2654435761u);
        snprintf(name, sizeof name, staged ? ".new-%s" : "%s", final);
        check(mkdir(name, 0777) == 0, name);
        snprintf(path, sizeof path, "%s/data.raw", name);
        store(path, DATA);
        snprintf(path, sizeof path, "%s/blob_state.base64.json", name);
        store(path, RECORD);
        if (staged) check(rename(name, final) == 0, final);
    }
    printf("%.6f %.6f\n", seconds() - began, processor() - used);
    return 0;
}
