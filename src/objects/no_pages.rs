//! Replaces `pages` where the kernel does not tell which pages are written.

use std::ops::Range;

use crate::error::Result;

pub enum Pages {}

impl Pages {
    pub const fn how_known() -> std::result::Result<&'static str, &'static str> {
        Err("this system does not tell which pages were written")
    }

    pub const fn new(_length: usize) -> Option<Result<Self>> {
        None
    }

    pub const fn on(_base: &std::fs::File, _length: usize) -> Option<Result<Self>> {
        None
    }

    pub const fn is_no_base(&self) {
        match *self {}
    }

    pub const fn make_own(&self, _granule: usize) -> Result<()> {
        match *self {}
    }

    pub const fn is_shown(&self, _granule: usize) -> bool {
        match *self {}
    }

    pub const fn show(&self, _granule: usize) {
        match *self {}
    }

    pub const fn view(&self) -> *mut u8 {
        match *self {}
    }

    pub const fn before(&self) -> *mut u8 {
        match *self {}
    }

    pub const fn written(&self) -> Option<Vec<Range<usize>>> {
        match *self {}
    }

    pub const fn written_in(&self, _pages: Range<usize>) -> Option<Vec<Range<usize>>> {
        match *self {}
    }

    pub const fn part_from_parent(&self) -> Result<()> {
        match *self {}
    }

    pub const fn give_up(&self, _pages: &Range<usize>) {
        match *self {}
    }
}

pub const fn faults() -> i64 {
    0
}
