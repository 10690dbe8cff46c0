// docs/examples/two_replicas.cpp — two replicas in one program: both write while apart, exchange bytes, and agree.
#include <cstdlib>
#include <iostream>
#include <string>

#include "node/replica.hpp"

namespace {

// This program's way with errors: there is nothing it could do about them.
template <class T>
T must(skerry::Result<T> result) {
    if (result) {
        if constexpr (!std::is_void_v<T>)
            return std::move(*result);
        else
            return;
    }
    std::cerr << result.error().text() << '\n';
    std::exit(1);
}

// What `from` has and `to` lacks. The strings could as well travel by mail, or on a memory stick.
void pull(skerry::Replica& to, skerry::Replica& from) {
    const std::string request = must(to.request());
    const std::string changes = must(from.changes_for(request));
    must(to.receive(changes));
}

void show(const char* name, skerry::Replica& replica) {
    std::cout << name << ": visits=" << must(replica.get("visits")).value_or("none") << " cart=";
    for (const std::string& item : must(replica.set_members("cart"))) std::cout << item << ' ';
    std::cout << '\n';
}

}  // namespace

int main(int argc, char** argv) {
    const std::string directory = argc > 1 ? argv[1] : "two_replicas.data";
    skerry::Replica laptop = must(skerry::Replica::open(directory + "/laptop"));
    skerry::Replica phone = must(skerry::Replica::open(directory + "/phone"));

    must(laptop.set_add("cart", "bread"));
    must(laptop.add("visits", 1));
    pull(phone, laptop);

    must(phone.set_remove("cart", "bread"));  // apart: one removes it,
    must(phone.add("visits", 10));
    must(laptop.set_add("cart", "bread"));  // the other adds it again
    must(laptop.add("visits", 100));
    pull(phone, laptop);
    pull(laptop, phone);

    show("laptop", laptop);  // both: the sum of the increments, and bread, since an add wins
    show("phone ", phone);
}
