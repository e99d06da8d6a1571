// Package spool keeps bytes that were acknowledged to a writer and that the
// server has not confirmed yet: the dirty extents of each file, within one
// budget over all files.
//
// The main type is [Spool]. Its methods are safe for concurrent use, never
// block (a writer that finds no room is handed a channel to wait on) and never
// touch the network: whoever owns the Spool takes what is to be uploaded, batch
// by batch, with [Spool.Take] and [Spool.Copy], and says with [Spool.Commit] or
// [Spool.Abort] what became of each. Files are named by a number that the owner
// gives out.
//
// Dirty bytes live in pages of [PageSize]; extents say which bytes of the pages
// are dirty. The two are apart so that the pages can move into shared memory
// that outlives the process: nothing but Spool.page knows where pages come from.
package spool
