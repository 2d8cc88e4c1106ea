class Account:
    def __init__(self, owner):
        self.owner = owner
        self.balance = 0

    def deposit(self, amount):
        self.balance += self.fee(amount)
        return self

    def fee(self, amount):
        return amount - 1


class Saver(Account):
    def fee(self, amount):
        return super().fee(amount) + 2


def main():
    accounts = [Account("a"), Saver("b")]
    for n in range(100000):
        accounts[n & 1].deposit(n)
    return sum(account.balance for account in accounts)
