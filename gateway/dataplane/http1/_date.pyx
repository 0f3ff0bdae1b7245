"""The names of days and months are HTTP's own, whatever language the machine speaks: no strftime."""
from libc.stdint cimport int64_t
from libc.string cimport memcpy
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec
from posix.types cimport time_t

cdef extern from "<time.h>" nogil:
    struct tm:
        int tm_sec
        int tm_min
        int tm_hour
        int tm_mday
        int tm_mon
        int tm_year
        int tm_wday
    tm *gmtime_r(const time_t *at, tm *out)

cdef const char *DAYS = "SunMonTueWedThuFriSat"
cdef const char *MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


cdef int64_t wall_s() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec


cdef inline void write_two(int value, char *text) noexcept nogil:
    text[0] = <char>(c'0' + value // 10 % 10)
    text[1] = <char>(c'0' + value % 10)


cdef void write_date(int64_t epoch_s, char *text) noexcept nogil:
    cdef time_t at = epoch_s
    cdef tm parts
    cdef int year
    gmtime_r(&at, &parts)
    year = parts.tm_year + 1900
    memcpy(text, "___, __ ___ ____ __:__:__ GMT", DATE_BYTES)
    memcpy(text, DAYS + 3 * parts.tm_wday, 3)
    write_two(parts.tm_mday, text + 5)
    memcpy(text + 8, MONTHS + 3 * parts.tm_mon, 3)
    write_two(year // 100, text + 12)
    write_two(year, text + 14)
    write_two(parts.tm_hour, text + 17)
    write_two(parts.tm_min, text + 20)
    write_two(parts.tm_sec, text + 23)


def http_date(int64_t epoch_s) -> str:
    """As it stands in a Date field."""
    cdef char text[DATE_BYTES]
    write_date(epoch_s, text)
    return text[:DATE_BYTES].decode()
