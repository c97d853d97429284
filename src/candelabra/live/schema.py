"""The tables of a live journal."""

from __future__ import annotations

from typing import Final

__all__ = ["FORM", "SCHEMA"]

FORM: Final = 1

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bundles (number INTEGER PRIMARY KEY, id TEXT NOT NULL, path TEXT NOT NULL,
  since_ms INTEGER NOT NULL, why TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS starts (
  number INTEGER PRIMARY KEY, symbol TEXT NOT NULL, bundle TEXT NOT NULL, timeframe TEXT NOT NULL, from_ms INTEGER NOT NULL,
  as_of_ms INTEGER NOT NULL, made_ms INTEGER NOT NULL, keep TEXT NOT NULL, simulated INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS candles (
  symbol TEXT NOT NULL, open_ms INTEGER NOT NULL, start INTEGER NOT NULL,
  open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL, volume REAL NOT NULL,
  PRIMARY KEY (symbol, open_ms, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS predictions (
  symbol TEXT NOT NULL, as_of_ms INTEGER NOT NULL, start INTEGER NOT NULL, bundle TEXT NOT NULL, made_ms INTEGER NOT NULL, body TEXT,
  PRIMARY KEY (symbol, as_of_ms)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS regimes (
  symbol TEXT NOT NULL, timeframe TEXT NOT NULL, close_ms INTEGER NOT NULL, label TEXT, age INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (symbol, timeframe, close_ms)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS judged (
  symbol TEXT NOT NULL, as_of_ms INTEGER NOT NULL, horizon TEXT NOT NULL, known_ms INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (symbol, as_of_ms, horizon)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS paper (
  symbol TEXT NOT NULL, as_of_ms INTEGER NOT NULL, target REAL NOT NULL, units REAL NOT NULL, cash REAL NOT NULL, equity REAL NOT NULL,
  PRIMARY KEY (symbol, as_of_ms)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trades (symbol TEXT NOT NULL, opened_ms INTEGER NOT NULL, closed_ms INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS standing (
  symbol TEXT NOT NULL, part TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (symbol, part)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
  number INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL);
"""
"""``starts``: where a follower began, from which candles (its bundle, ``keep``); ``candles``: what followers were given, each under the
start that was given it; ``predictions``: one row a closed base bar, without a body where nothing could be said; ``standing``: what a
restart goes on from (position, paper account); ``judged``, ``paper``, ``trades``, ``regimes``, ``events``: what came of it.
"""
