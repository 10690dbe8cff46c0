// How this process's memory is got: jemalloc looks for this name when it starts (jemalloc(3), "TUNING").
//
// Huge pages   a lookup among millions of rows meets several lines of memory far apart, each of which costs a walk of the page
//              tables, too, if pages are small. Nothing here forks, so a large page is never copied for one changed byte.
// Background   a thread of jemalloc's gives memory back to the system, not whoever frees it.

extern "C" const char* const malloc_conf;
const char* const malloc_conf = "thp:always,background_thread:true";
