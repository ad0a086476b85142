"""A small program or a piece of data in every language that is told apart, and prose that speaks of programs."""

PYTHON = '''"""Pumps."""

import sys
from dataclasses import dataclass


@dataclass
class Pump:
    name: str

    def grease(self, times=2):
        for _ in range(times):
            print(self.name)
        return None


if __name__ == "__main__":
    Pump(sys.argv[1]).grease()
'''
C = """#include <stdio.h>
#define TIMES 2

static int grease(struct pump *pump) {
\tif (pump == NULL)
\t\treturn -1;
\tprintf("%s\\n", pump->name);
\treturn 0;
}
"""
C_PLUS_PLUS = """#include <string>
#include <vector>

namespace hall {

class Pump {
public:
    virtual ~Pump() = default;
    explicit Pump(std::string name);
};

template <typename T>
void grease(const std::vector<T>& pumps) {
    for (const auto& pump : pumps) {
        pump.grease();
    }
}

}
"""
JAVA = """package org.example.hall;

import java.util.List;

public class Pump implements Greased {
    private final String name;

    @Override
    public void grease(int times) throws IOException {
        for (int i = 0; i < times; i++) {
            System.out.println(name);
        }
    }
}
"""
JAVASCRIPT = """'use strict';
const fs = require('fs');

function grease(pump, times = 2) {
  if (pump.name === undefined) {
    return null;
  }
  return pump.parts.map((part) => part.name);
}

module.exports = { grease };
"""
TYPESCRIPT = """import { Part } from "./part";

export interface Pump {
  name: string;
  parts: Part[];
}

export function grease(pump: Pump, times: number): void {
  const done = pump.parts.filter((part) => part.name !== "");
  console.log(done);
}
"""
GO = """package hall

import "fmt"

type Pump struct {
\tName string
}

func (p *Pump) Grease(times int) error {
\tfor i := 0; i < times; i++ {
\t\tfmt.Println(p.Name)
\t}
\treturn nil
}
"""
RUST = """use std::fmt;

#[derive(Debug)]
pub struct Pump {
    name: String,
}

impl Pump {
    pub fn grease(&self, times: usize) -> Option<usize> {
        let mut done = 0;
        for _ in 0..times {
            println!("{}", self.name);
        }
        Some(done)
    }
}
"""
SHELL = """set -eu

grease() {
    for part in "$@"; do
        if [ -f "$part" ]; then
            echo greasing "$part"
        fi
    done
}

TIMES="${1:-2}"
export TIMES
grease a b
"""
SQL = """-- pumps
CREATE TABLE pumps (
    id integer PRIMARY KEY,
    name varchar(80) NOT NULL
);

INSERT INTO pumps VALUES (1, 'main');

SELECT name FROM pumps WHERE id = 1;
"""
PHP = "<?php\nfunction grease(Pump $pump): void {\n    echo $pump->name;\n}\n"
RUBY = """require 'set'

module Hall
  class Pump < Machine
    attr_reader :name

    def grease(times)
      times.times do |i|
        puts "#{@name} #{i}"
      end
    end
  end
end
"""
C_SHARP = """using System;
using System.Collections.Generic;

namespace Hall
{
    public class Pump
    {
        public string Name { get; set; }

        public void Grease(int times)
        {
            foreach (var part in parts)
                Console.WriteLine(Name);
        }
    }
}
"""
PERL = """package Hall::Pump;

use strict;
use warnings;

sub grease {
    my ($self, $times) = @_;
    print $self->{name} if $times =~ /^\\d+$/;
    return $times;
}

1;
"""
JSON = '{\n  "pump": {"name": "main",   "times": 2},\n\n\n\n\n  "parts": ["shaft", "seal"]\n}\n'
XML = '<?xml version="1.0"?>\n<pumps>\n  <pump name="main"/>\n</pumps>\n'
XML_WITH_NAMESPACE = '<!-- pumps -->\n<h:pumps xmlns:h="http://example.org/hall">\n  <h:pump/>\n</h:pumps>\n'
YAML = "# pumps\npump:\n  name: the main one of them\n  times: 2\n  parts:\n    - shaft\n    - seal\n"
TOML = '[pump]\nname = "main"\ntimes = 2\n\n[pump.parts]\nshaft = true\n'

MEDIA_TYPES = {
    PYTHON: "text/x-python",
    C: "text/x-c",
    C_PLUS_PLUS: "text/x-c++",
    JAVA: "text/x-java",
    JAVASCRIPT: "text/javascript",
    TYPESCRIPT: "text/x-typescript",
    GO: "text/x-go",
    RUST: "text/x-rust",
    SHELL: "text/x-shellscript",
    SQL: "application/sql",
    PHP: "text/x-php",
    RUBY: "text/x-ruby",
    C_SHARP: "text/x-csharp",
    PERL: "text/x-perl",
    JSON: "application/json",
    XML: "application/xml",
    XML_WITH_NAMESPACE: "application/xml",
    YAML: "application/yaml",
    TOML: "application/toml",
}

_SENTENCES = "The pump is greased once a week by whoever opens the hall in the morning and finds it dry.\n\n"


def indented(code: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in code.splitlines())


def documents_about_code() -> dict[str, str]:
    """Return prose that shows programs, by the media type that it has."""
    shown = (PYTHON, C, JAVA, SHELL, SQL, RUST)
    fenced = "".join(f"## Part\n\n{_SENTENCES}```\n{code}```\n\n" for code in shown)
    literal = "".join(f"Part\n----\n\n{_SENTENCES}.. code-block::\n\n{indented(code)}\n" for code in shown)
    sentences = (
        "Import the module, then define a class; if it fails, return to the beginning.\n"
        "From the hall, import what you need. While the pump runs, do not open it.\n"
        "Select a pump from the list where it says so; create a table of its parts.\n"
        "Use the function when the value is not None, or print it (see print() in the manual).\n"
    )
    return {fenced: "text/markdown", literal: "text/x-rst", sentences * 5: "text/plain"}
