/* Preloaded, it makes a C library whose semaphores and shared memory are not there, as some of Lambda's images have it. */
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
