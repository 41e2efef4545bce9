/* Preloaded: makes semaphores and shared memory of the C library fail with ENOSYS, as in some of Lambda's images. */
#include <errno.h>
#include <stddef.h>

void *sem_open(const char *name, int flags, ...)
{
    (void)name;
    (void)flags;
    errno = ENOSYS;
    return NULL;
}

int shm_open(const char *name, int flags, unsigned mode)
{
    (void)name;
    (void)flags;
    (void)mode;
    errno = ENOSYS;
    return -1;
}
